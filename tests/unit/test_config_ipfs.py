"""Gateways, pinning services and Kubo in the configuration: faults are said, secrets never."""

from __future__ import annotations

from pathlib import Path

import pytest

from hausd.config import Config, ConfigError, PinningService, load
from hausd.config.ipfs import token_path
from hausd.config.show import shown

SECRET = "eyJhbGciOiJIUzI1NiJ9." + "c2VjcmV0" * 30 + ".sig"


def ipfs(tmp_path: Path, text: str) -> Config:
    (tmp_path / "hausd.toml").write_text(f"[ipfs]\n{text}\n")
    return load(tmp_path).config


def said(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as error:
        ipfs(tmp_path, text)
    return "\n".join(str(fault) for fault in error.value.faults)


def token(folder: Path, name: str = "pinata.token", mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text(SECRET)
    path.chmod(mode)
    return path


def test_services_are_read_with_their_tokens_place(tmp_path: Path) -> None:
    path = token(tmp_path)
    config = ipfs(
        tmp_path,
        'gateways = ["https://trustless-gateway.link/", "http://127.0.0.1:8080"]\n'
        'pinning = [{ name = "pinata", endpoint = "https://api.pinata.cloud/psa/", '
        'token = "pinata.token" }]\nkubo = "http://127.0.0.1:5001"\n',
    )
    assert config.ipfs.gateways == ("https://trustless-gateway.link", "http://127.0.0.1:8080")
    service = PinningService("pinata", "https://api.pinata.cloud/psa", str(path))
    assert config.ipfs.pinning == (service,)
    assert config.ipfs.kubo == "http://127.0.0.1:5001"
    written = {option.key: option.value for option in shown(load(tmp_path))}["ipfs.pinning"]
    assert SECRET not in str(written)


def test_an_argument_may_set_them(tmp_path: Path) -> None:
    path = token(tmp_path)
    one = f'ipfs.pinning=[{{name="a", endpoint="http://127.0.0.1:1/psa", token="{path}"}}]'
    config = load(tmp_path, sets=[one, 'ipfs.gateways=["http://localhost:1"]']).config
    assert config.ipfs.pinning[0].name == "a"
    assert config.ipfs.gateways == ("http://localhost:1",)


def test_a_credential_of_systemd_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    token(tmp_path, "pinata", 0o440)
    config = ipfs(
        tmp_path,
        'pinning = [{ name = "a", endpoint = "https://a.example", token = "credential:pinata" }]',
    )
    assert token_path(config.ipfs.pinning[0].token).read_text() == SECRET
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert "can't be read" in said(
        tmp_path,
        'pinning = [{ name = "a", endpoint = "https://a.example", token = "credential:pinata" }]',
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('gateways = ["http://gw.example"]', "without TLS"),
        ('gateways = ["ftp://gw.example"]', "is not such a URL"),
        ('gateways = ["https://u:p@gw.example"]', "holds a user or a password"),
        ('gateways = ["https://gw.example/?token=x"]', "has a query"),
        ('gateways = ["https://gw.example/ipfs"]', "ends in /ipfs"),
        ('gateways = ["https://gw.example", "https://gw.example/"]', "stands there twice"),
        ('gateways = "https://[gw"', "is not a URL"),
        ("gateways = 3", "is not a list"),
        ('kubo = "http://192.0.2.1:5001"', "without TLS"),
        ("kubo = 5001", "is not a URL"),
        ('pinning = "pinata"', "is not a list of pinning services"),
        ('pinning = [{ name = "a" }]', "has a name, an endpoint and a token"),
        (
            'pinning = [{ name = "kubo", endpoint = "https://a.example", token = "t" }]',
            "can't name a pinning service",
        ),
        (
            'pinning = [{ name = "A b", endpoint = "https://a.example", token = "t" }]',
            "can't name a pinning service",
        ),
        (
            'pinning = [{ name = "a", endpoint = "https://a.example", token = "t" }, '
            '{ name = "a", endpoint = "https://b.example", token = "t" }]',
            "two pinning services are called a",
        ),
        ('kubo_token = "nowhere"', "ipfs.kubo_token: the token's file can't be read"),
    ],
)
def test_faults_are_told(tmp_path: Path, text: str, words: str) -> None:
    assert words in said(tmp_path, text)


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = token(tmp_path, mode=0o644)
    line = 'pinning = [{ name = "a", endpoint = "https://a.example", token = "pinata.token" }]'
    assert f"chmod 600 {path}" in said(tmp_path, line)


@pytest.mark.parametrize("pasted", [SECRET, "0123456789abcdef0123456789abcdef"])
def test_a_token_put_in_the_file_by_mistake_is_not_shown(tmp_path: Path, pasted: str) -> None:
    line = f'pinning = [{{ name = "a", endpoint = "https://a.example", token = "{pasted}" }}]'
    told = said(tmp_path, line)
    assert pasted not in told
    assert "file" in told
