"""AWS Signature Version 4 for the tests' own requests: written apart from the program's, so that a gateway judges both."""
import hashlib
import hmac


def authorization(method, path, query, headers, access, secret, scope):
    """Value of the Authorization header. path and query are encoded; headers: (name, value) of all that are signed, x-amz-date and
    x-amz-content-sha256 among them; scope: DAY/REGION/s3/aws4_request."""
    signed = sorted((k.lower(), v) for k, v in headers)
    names = ";".join(k for k, _ in signed)
    values = dict(signed)
    query = "&".join(sorted(p if "=" in p else p + "=" for p in query.split("&") if p))
    canonical = "\n".join([method, path, query, "".join(f"{k}:{v}\n" for k, v in signed), names, values["x-amz-content-sha256"]])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(["AWS4-HMAC-SHA256", values["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}"
