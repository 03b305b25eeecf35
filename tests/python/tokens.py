"""Makes keys, and tokens signed with them by PyJWT: good ones in every algorithm, and bad ones. Everything goes into
the directory given: secret.txt, public.pem, jwks.json for nodes, private keys for other signers, and tokens.json, a
list of {"name", "keys", "token", "expect"}: the file of keys a node has, and "ok" or what its error says."""

import base64
import hashlib
import hmac
import json
import sys
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

directory = Path(sys.argv[1])
now = int(time.time())
secret = "a secret that is long enough for HS512, with its sixty-four bytes!"
keys = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
strangers = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def public_pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def jwk(algorithm, key):
    made = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    return {**made, "kid": algorithm, "alg": algorithm, "use": "sig"}


tokens = []


def token(name, keyfile, expect, key, algorithm, kid=None, **claims):
    claims = {"sub": "u1", "exp": now + 3600, "iss": "login", "aud": "push", "rooms": ["r1", "team-*"], **claims}
    claims = {claim: value for claim, value in claims.items() if value is not None}
    headers = {"kid": kid} if kid else None
    signed = jwt.encode(claims, key, algorithm=algorithm, headers=headers)
    tokens.append({"name": name, "keys": keyfile, "token": signed, "expect": expect})


for algorithm in ("HS256", "HS384", "HS512"):
    token(algorithm, "secret.txt", "ok", secret, algorithm)
    token(f"{algorithm}, another secret", "secret.txt", "signature", "x" * 64, algorithm)
for algorithm, key in keys.items():
    token(f"{algorithm}, PEM", "public.pem", "ok", key, algorithm)
    token(f"{algorithm}, JWKS", "jwks.json", "ok", key, algorithm, kid=algorithm)
    token(f"{algorithm}, JWKS, no kid", "jwks.json", "ok", key, algorithm)
    token(f"{algorithm}, another key", "jwks.json", "signature", strangers[algorithm], algorithm, kid=algorithm)
    token(f"{algorithm}, unknown kid", "jwks.json", "key that is not known", key, algorithm, kid="other")
    token(f"{algorithm} where secrets are", "secret.txt", "algorithm", key, algorithm)
token("HS256 where public keys are", "public.pem", "algorithm", secret, "HS256")
token("RS512", "public.pem", "algorithm", keys["RS256"], "RS512")
token("unsigned", "secret.txt", "not a signed JWT", None, "none")
token("expired", "secret.txt", "expired", secret, "HS256", exp=now - 60)
token("without an end", "secret.txt", "claims", secret, "HS256", exp=None)
token("not yet valid", "secret.txt", "not valid yet", secret, "HS256", nbf=now + 600)
token("another issuer", "secret.txt", "issuer", secret, "HS256", iss="somebody")
token("another audience", "secret.txt", "audience", secret, "HS256", aud="mail")
token("for nobody in particular", "secret.txt", "audience", secret, "HS256", aud=None)
token("of nobody", "secret.txt", "claims", secret, "HS256", sub=None)


def base64url(text):
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


# HS256 with the RSA public key as its secret. PyJWT refuses to make it, as it should.
signed = ".".join(
    base64url(json.dumps(part).encode())
    for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": "u1", "exp": now + 3600, "iss": "login", "aud": "push"})
)
forged = hmac.new(public_pem(keys["RS256"]), signed.encode(), hashlib.sha256).digest()
tokens.append(
    {
        "name": "a public key as the secret",
        "keys": "public.pem",
        "token": f"{signed}.{base64url(forged)}",
        "expect": "algorithm",
    }
)

(directory / "secret.txt").write_text(secret + "\n")
(directory / "public.pem").write_bytes(b"".join(public_pem(key) for key in keys.values()))
(directory / "jwks.json").write_text(json.dumps({"keys": [jwk(*pair) for pair in keys.items()]}))
for algorithm, key in keys.items():
    (directory / f"{algorithm}.pem").write_bytes(private_pem(key))
(directory / "tokens.json").write_text(json.dumps(tokens))
