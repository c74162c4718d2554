"""The programs that are compared: how each is asked for the same work."""
import os
import shutil

RESTIC, BORG = "restic", "borg"
# what every tool is asked, in this order; the corpus changes before "changed"
OPERATIONS = ("init", "first", "unchanged", "changed", "restore", "restore, read back", "verify", "verify, digests")
PLAN = """plan: bench
title: Speed of one source and one site
targets: {rto: 1h, rpo: 24h}
sources:
  - {name: data, paths: ["%s"], cut: %s, level: 2}
sites:
  - {name: site, url: "file://%s"}
"""


class Tool:
    """One tool with a repository and a state directory of its own, both new."""
    name = ""
    passphrase = "bench"

    def __init__(self, work, source, database):
        self.database = database
        self.dir = os.path.join(work, self.name)
        self.repo, self.state, self.out = (os.path.join(self.dir, d) for d in ("repo", "state", "out"))
        self.source = source
        for d in (self.repo, self.state):
            os.makedirs(d)

    def env(self):
        return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": self.state, "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}

    def restored(self):
        """Where a restore into self.out put the source: every tool here keeps the whole path."""
        return self.out + self.source

    def remove(self):
        shutil.rmtree(self.dir)

    def command(self, operation):
        """Argument vector, or None for what the tool does not have."""
        raise NotImplementedError


class Holdfast(Tool):
    name = "holdfast"
    program = ""

    def command(self, operation):
        plan = os.path.join(self.state, "plan.yaml")
        if operation == "init":
            with open(plan, "w", encoding="utf-8") as f:
                f.write(PLAN % (self.source, "fixed" if self.database else "auto", self.repo))
        words = {
            "init": ["init", plan],
            "restore": ["restore", plan, "--to", self.out, "--no-verify"],
            "restore, read back": ["restore", plan, "--to", self.out],
            "verify": ["verify", plan, "--data"],
            "verify, digests": ["verify", plan],
        }.get(operation, ["backup", plan])
        return [self.program, "--root", os.path.join(self.state, "root"), "--progress", "none", *words]


class Restic(Tool):
    name = RESTIC

    def env(self):
        return super().env() | {"RESTIC_PASSWORD": self.passphrase, "RESTIC_REPOSITORY": self.repo, "RESTIC_CACHE_DIR": os.path.join(self.state, "cache")}

    def command(self, operation):
        words = {
            "init": ["init", "--repository-version", "2"],
            "restore": ["restore", "latest", "--target", self.out],
            "restore, read back": None,
            "verify, digests": None,
            "verify": ["check", "--read-data"],
        }.get(operation, ["backup", self.source])
        return words and [RESTIC, "--quiet", *words]


class Borg(Tool):
    name = BORG

    def env(self):
        return super().env() | {"BORG_PASSPHRASE": self.passphrase, "BORG_BASE_DIR": self.state, "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}

    def command(self, operation):
        words = {
            "init": ["init", "--encryption", "repokey-blake2", self.repo],
            "restore": ["extract", f"{self.repo}::changed"],
            "restore, read back": None,
            "verify, digests": None,
            "verify": ["check", "--verify-data", self.repo],
        }.get(operation, ["create", "--compression", "zstd,3", f"{self.repo}::{operation}", self.source])
        return words and [BORG, *words]


TOOLS = {t.name: t for t in (Holdfast, Restic, Borg)}
