#!/usr/bin/python3
"""What a thief of the credentials does to a bucket of the gateway in HOLDFAST_S3_*.

    s3.py list BUCKET PREFIX            keys, one a line
    s3.py delete BUCKET KEY...          delete each (a marker where versions are kept)
    s3.py overwrite BUCKET KEY...       other bytes under each key
    s3.py versions BUCKET PREFIX        KEY VERSION, one a line; no delete markers
    s3.py delete-version BUCKET KEY VERSION

Prints the status of each change; the exit status is 1 when one was refused.
"""
import datetime
import hashlib
import http.client
import os
import re
import sys
import urllib.parse

sys.dont_write_bytecode = True
from sigv4 import authorization  # noqa: E402

ENV = {name: os.environ["HOLDFAST_S3_" + name] for name in ("ENDPOINT", "KEY", "SECRET")}


def request(method, path, query="", body=b""):
    host = urllib.parse.urlparse(ENV["ENDPOINT"]).netloc
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
    headers["authorization"] = authorization(
        method, path, query, list(headers.items()), ENV["KEY"], ENV["SECRET"], f"{stamp[:8]}/default/s3/aws4_request")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request(method, path + ("?" + query if query else ""), body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def pages(bucket, what, prefix, pattern):
    after = ""
    while True:
        marker = f"&{'start-after' if 'list-type' in what else 'key-marker'}={urllib.parse.quote(after, safe='')}" if after else ""
        status, text = request("GET", "/" + bucket, f"{what}&prefix={urllib.parse.quote(prefix, safe='')}{marker}")
        if status != 200:
            sys.exit(f"{status} {text}")
        found = re.findall(pattern, text)
        yield from found
        if "<IsTruncated>true" not in text:
            return
        after = found[-1] if isinstance(found[-1], str) else found[-1][0]


def main():
    command, bucket, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    worst = 0
    if command == "list":
        print(*pages(bucket, "list-type=2", rest[0], "<Key>(.*?)</Key>"), sep="\n")
    elif command == "versions":
        for key, version in pages(bucket, "versions=", rest[0], "<Version><Key>(.*?)</Key><VersionId>(.*?)</VersionId>"):
            print(key, version)
    elif command == "delete-version":
        status, _ = request("DELETE", f"/{bucket}/{rest[0]}", "versionId=" + rest[1])
        print(status)
        worst = status
    else:
        for key in rest:
            status, _ = request("DELETE", f"/{bucket}/{key}") if command == "delete" else request("PUT", f"/{bucket}/{key}", body=b"not what was here")
            print(status)
            worst = max(worst, status)
    sys.exit(worst >= 300)


main()
