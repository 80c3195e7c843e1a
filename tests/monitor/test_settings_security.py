"""[broker.security]: files count from line.toml's folder, secrets never show, what cannot work is an error at once."""

from pathlib import Path

import pytest

from monitor.settings import Line, SettingsError, load_line

LINE = """
[broker]
url = "kafka://127.0.0.1:9092"
[broker.security]
{security}
[[machine]]
id = "fan"
healthy = "healthy"
[[machine.mic]]
id = "fan-a"
source = "file:a.wav"
"""
SECRET = "hush-hush-7"


def load(folder: Path, security: str) -> Line:
    path = folder / "line.toml"
    path.write_text(LINE.format(security=security))
    return load_line(path)


def test_the_broker_is_given_what_the_settings_say(tmp_path: Path) -> None:
    """Paths are absolute, the password comes from its file without the line's end."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    text = 'protocol = "SASL_SSL"\nca = "ca.pem"\nmechanism = "PLAIN"\nusername = "ear"\npassword_file = "secret"'
    security = load(tmp_path, text).broker.security.contract()
    assert security.ca == tmp_path / "ca.pem"
    assert (security.protocol, security.mechanism, security.username) == ("SASL_SSL", "PLAIN", "ear")
    assert security.password == SECRET


def test_without_a_word_nothing_is_demanded(tmp_path: Path) -> None:
    """The default is a Kafka that asks for nothing."""
    security = load(tmp_path, "").broker.security.contract()
    assert not security.tls
    assert not security.sasl


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('protocol = "TLS"', "broker.security.protocol"),
        ('protocol = "SASL_SSL"\nmechanism = "PLAIN"\nusername = "ear"', "username and password"),
        ('protocol = "SASL_SSL"\nmechanism = "PLAIN"\nusername = "ear"\npassword_file = "none"', "none"),
        (f'password = "{SECRET}"', "sends no name"),
        (f'passwords = "{SECRET}"', "no such key"),
        ('password = ["hush-hush-7"]', "broker.security.password"),
    ],
)
def test_what_cannot_work_is_named_without_the_secret(tmp_path: Path, text: str, words: str) -> None:
    """The error names the key and never shows the password, not even one with a misspelt key."""
    with pytest.raises(SettingsError, match=words) as caught:
        load(tmp_path, text)
    assert SECRET not in str(caught.value)


def test_the_password_does_not_show(tmp_path: Path) -> None:
    """A line that is printed hides it."""
    text = f'protocol = "SASL_PLAINTEXT"\nmechanism = "SCRAM-SHA-512"\nusername = "ear"\npassword = "{SECRET}"'
    line = load(tmp_path, text)
    assert SECRET not in repr(line)
    assert line.broker.security.contract().password == SECRET
