"""What the user brings so that doors can be closed: secrets of the cluster, and the proofs that clients and callers show."""

import datetime
import pathlib
import subprocess
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chart import PROGRAMS

ROOM = "lobby"


def pushctl(*arguments):
    made = subprocess.run([PROGRAMS / "pushctl", *arguments], capture_output=True, text=True, check=True)
    return made.stdout.strip()


def secrets_of_the_user():
    """What the chart's README has its reader make, and the proofs that clients and callers then have."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        secret, keys = directory / "secret", directory / "keys"
        secret.write_text("a secret of thirty-two bytes or more\n")
        key = pushctl("key", "new", "--name", "shop", "--keys-file", keys)
        token = pushctl("token", "new", "--key-file", secret, "--user", "u1", "--rooms", ROOM)
        test_key = pushctl("key", "new", "--name", "helm-test", "--methods", "PushToRoom", "--keys-file", keys)
        test_token = pushctl("token", "new", "--key-file", secret, "--user", "helm-test", "--rooms", "bench-*")
        brought = {
            "jwt": {"keys": secret.read_bytes()},
            "api-keys": {"keys": keys.read_bytes()},
            "test": {"key": test_key.encode(), "token": test_token.encode()},
            "tls": certificate(),
        }
    return brought, key, token


def certificate():
    """As cert-manager makes it, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "push.example.com")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
    certificate = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("push.example.com")]), False)
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return {
        "tls.crt": certificate.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        "tls.key": key.private_bytes(serialization.Encoding.PEM, *private),
    }
