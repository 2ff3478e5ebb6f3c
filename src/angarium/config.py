"""The settings tree: one frozen object, read once at start.

Sources, the stronger first: environment (`ANGARIUM_…`, nested by two underscores, or `…_FILE` naming a
file that holds the value), the TOML file (`--config`, `ANGARIUM_CONFIG`, `./angarium.toml`,
`/etc/angarium/angarium.toml`), the defaults below. Unknown keys are refused. Durations carry units
("90 s", "15 min", "24 h", "7 days"), sizes too ("500 MB").

What people tune while the system runs – senders, strategies, retry rules – is not here but in the database.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from angarium.errors import ConfigurationError

PREFIX: Final = "ANGARIUM_"
_NOT_SETTINGS: Final = {"ANGARIUM_CONFIG"}
_UNITS: Final = {
    "ms": 0.001, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "hour": 3600, "hours": 3600,
    "d": 86_400, "day": 86_400, "days": 86_400, "": 1,
}  # fmt: skip
_SIZES: Final = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def _quantity(value: object, units: dict[str, float] | dict[str, int], example: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(value))
    if not match or match[2].lower() not in units:
        raise ValueError(f"{value!r} is not understood; write for example {example!r}")
    return float(match[1]) * units[match[2].lower()]


def parse_duration(value: object) -> float:
    """Seconds. A bare number counts as seconds. Raises `ValueError` with an example."""
    return _quantity(value, _UNITS, "15 min")


def parse_size(value: object) -> int:
    """Octets. Raises `ValueError` with an example."""
    return int(_quantity(value, _SIZES, "500 MB"))


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
Octets = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class WebSettings(_Section):
    """The panel and the API."""

    host: str = "127.0.0.1"
    port: Port = 8080
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    https: bool = False
    """Cookies only over HTTPS; set it behind a TLS proxy."""
    language: str = "en"
    timezone: str = "UTC"


class ListenerSettings(_Section):
    """The public HTTP service."""

    host: str = "127.0.0.1"
    port: Port = 8081
    public_url: str = "http://127.0.0.1:8081"
    """How recipients reach it; stands in unsubscribe links."""


class LauncherSettings(_Section):
    """Preparing launches."""

    page: int = Field(default=2_000, ge=1, le=20_000)
    """Profiles read at a time."""
    packets_in_flight: int = Field(default=16, ge=1, le=500)
    max_error_share: float = Field(default=0.1, gt=0, le=1)
    """A launch pauses when a larger share of its recipients fail to render."""
    error_sample: int = Field(default=100, ge=1)
    """Recipients that must have been tried before the share counts."""


class MtaSettings(_Section):
    """Spool, retry, SMTP."""

    node: str = "node-1"
    """The name of the node this engine is; its IP addresses are in the database."""
    spool: Path | None = None
    """Default: `<data>/spool/<node>`."""
    couriers: int = Field(default=0, ge=0, le=64)
    """Processes that speak SMTP; 0: one a core, at most four."""
    nameservers: tuple[str, ...] = ()
    """`host` or `host:port`; empty: the system's."""
    allow_loopback: bool = False
    """Deliver to MX hosts on this machine. For tests and the demo."""
    min_free_disk: Octets = 1_000_000_000
    """Below it the engine takes no more packets and says so."""
    window: int = Field(default=100_000, ge=1_000)
    """Ready messages held in memory over all lanes."""
    node_silence: Seconds = 600
    """How long to wait for another node's word on a repeated packet before its messages are doubtful."""
    tombstone_life: Seconds = 7 * 86_400
    """Added to a message's life."""
    rules_speed: float = Field(default=1.0, gt=0, le=100_000)
    """Retry rules' delays are divided by this. For the demo; leave it at 1."""
    timeout_scale: float = Field(default=1.0, gt=0, le=1)
    """SMTP time-outs are multiplied by this. For tests; leave it at 1 (RFC 5321 4.5.3.2)."""


class RecorderSettings(_Section):
    """What became of messages."""

    event_retention: Seconds = 90 * 86_400
    """Older events are deleted; counters stay."""
    stall_after: Seconds = 1_800
    """A queue of which nothing has come to an end for so long is stalled: an alarm."""


class MetricsSettings(_Section):
    """Health and figures for monitoring."""

    host: str = "127.0.0.1"
    ports: dict[str, Port] = {}
    """Service name → port of `/metrics` and `/health`; services without one get a Unix socket only."""


class LogSettings(_Section):
    """One line an event, on standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(_Section):
    """All of it."""

    data: Path = Path("var")
    """Everything the services keep on this machine's disk, unless said otherwise."""
    database_url: SecretStr = SecretStr("")
    """`sqlite:///path/to/file` or `postgresql://user:password@host/name`. Default: SQLite in `data`."""
    broker_url: SecretStr = SecretStr("")
    """`embedded:///path/to/folder` or `amqp://user:password@host/vhost`. Default: embedded in `data`."""
    secret_key: SecretStr = SecretStr("")
    """Signs sessions and links, encrypts secrets. Default: `<data>/secret.key`, made at first start."""
    web: WebSettings = WebSettings()
    listener: ListenerSettings = ListenerSettings()
    launcher: LauncherSettings = LauncherSettings()
    mta: MtaSettings = MtaSettings()
    recorder: RecorderSettings = RecorderSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr) -> SecretStr:
        if (url := value.get_secret_value()) and not url.startswith(
            ("sqlite://", "postgresql://", "postgres://")
        ):
            raise ValueError("must begin with sqlite:// or postgresql://")
        return value

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, value: SecretStr) -> SecretStr:
        if (url := value.get_secret_value()) and not url.startswith(("embedded", "amqp://", "amqps://")):
            raise ValueError("must begin with embedded:// or amqp://")
        return value

    @property
    def database(self) -> str:
        """The database URL in force."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.data.absolute()}/angarium.db"

    @property
    def broker(self) -> str:
        """The broker URL in force."""
        url = self.broker_url.get_secret_value()
        return f"embedded://{self.data.absolute()}/broker" if url in ("", "embedded", "embedded://") else url

    @property
    def embedded_broker(self) -> Path | None:
        """The embedded broker's folder; None when another broker is used."""
        return (
            Path(self.broker.removeprefix("embedded://")) if self.broker.startswith("embedded://") else None
        )

    @property
    def spool(self) -> Path:
        """The spool folder of this machine's engine."""
        return self.mta.spool or self.data / "spool" / self.mta.node

    def secret(self) -> bytes:
        """The secret key; made and kept (mode 0600) at the first call where none is set."""
        return self.secret_key.get_secret_value().encode() or _key_file(self.data / "secret.key")


def _key_file(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _whole_key(path)
    with os.fdopen(handle, "w") as file:
        file.write(os.urandom(32).hex())
        file.flush()
        os.fsync(file.fileno())
    return _whole_key(path)


def _whole_key(path: Path) -> bytes:
    for _ in range(1_000):  # another process may be writing it this very moment
        if len(key := path.read_bytes()) == 64:
            return key
        os.sched_yield()
    raise ConfigurationError(f"{path} does not hold a key; remove it only if nothing was ever signed with it")


def load(path: Path | None = None, environment: dict[str, str] | None = None) -> Settings:
    """Reads the settings. Raises `ConfigurationError` naming each key that is wrong and why."""
    environment = dict(os.environ) if environment is None else environment
    tree = _read_file(_find(path, environment))
    _overlay(tree, environment)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None


def origins(path: Path | None = None, environment: dict[str, str] | None = None) -> dict[str, str]:
    """Dotted key → the file or the variable that sets it, for every key that is set."""
    environment = dict(os.environ) if environment is None else environment
    file = _find(path, environment)
    found = dict.fromkeys(_keys(_read_file(file)), str(file))
    for name in _variables(environment):
        key = name.removeprefix(PREFIX).removesuffix("_FILE")
        found[".".join(part.lower() for part in key.split("__"))] = name
    return found


def _keys(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key


_current: Settings | None = None


def use(settings: Settings) -> None:
    """Makes these the settings of the process, for Django and the commands too."""
    global _current
    _current = settings


def current() -> Settings:
    """The settings of the process: those given to `use`, otherwise loaded at the first call."""
    global _current
    if _current is None:
        _current = load()
    return _current


def _find(path: Path | None, environment: dict[str, str]) -> Path | None:
    named = path or (Path(environment["ANGARIUM_CONFIG"]) if environment.get("ANGARIUM_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise ConfigurationError(f"the settings file {named} does not exist")
        return named
    places = (Path("angarium.toml"), Path("/etc/angarium/angarium.toml"))
    return next((place for place in places if place.is_file()), None)


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def _overlay(tree: dict[str, Any], environment: dict[str, str]) -> None:
    for name in _variables(environment):
        value, key = environment[name], name.removeprefix(PREFIX)
        if key.endswith("_FILE"):
            key, value = key.removesuffix("_FILE"), _secret_from(name, Path(value))
        _put(tree, [part.lower() for part in key.split("__")], value)


def _variables(environment: dict[str, str]) -> list[str]:
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in _NOT_SETTINGS)


def _secret_from(name: str, path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"{name} names a file that cannot be read: {error}") from error


def _put(tree: dict[str, Any], keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
    lists = {"nameservers", "allowed_hosts"}
    tree[keys[-1]] = (
        [part.strip() for part in value.split(",") if part.strip()] if keys[-1] in lists else value
    )


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        why = (
            "no such setting"
            if item["type"] == "extra_forbidden"
            else item["msg"].removeprefix("Value error, ")
        )
        lines.append(f"{key}: {why}")
    return "the settings cannot be used:\n  " + "\n  ".join(lines)
