"""Where the node answers over HTTP, and what its pages allow."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class WebSettings(BaseModel):
    """The HTTP port of a process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address of the HTTP port; the default is this machine only",
    )
    port: int | None = Field(
        default=8080,
        ge=0,
        le=65535,
        description="TCP port of probes, metrics and pages; 0 takes a free one, null opens none",
    )
    allow_retry: bool = Field(
        default=False,
        description="let the page of a Study take it up or send its results again, with buttons",
    )
    user: str = Field(
        default="", max_length=64, description="name that the pages ask for (HTTP Basic); empty asks nobody"
    )
    password: SecretStr | None = Field(default=None, description="password that goes with it")

    @model_validator(mode="after")
    def _user_has_password(self) -> WebSettings:
        if bool(self.user) is not bool(self.password and self.password.get_secret_value()):
            raise ValueError("user and password belong together: give both or none")
        return self
