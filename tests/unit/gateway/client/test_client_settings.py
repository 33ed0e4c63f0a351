import pytest

from services.gateway.client.failures import Failure
from services.gateway.client.settings import read_settings


def test_the_address_of_the_command_line_comes_before_the_environment() -> None:
    environment = {"POINTMILL_URL": "http://a/", "POINTMILL_API_KEY": "k"}
    assert read_settings(environment, None).url == "http://a"
    assert read_settings(environment, "https://b/mill/").url == "https://b/mill"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"POINTMILL_API_KEY": "k"}, "POINTMILL_URL is not set"),
        ({"POINTMILL_URL": "localhost:8080", "POINTMILL_API_KEY": "k"}, "is not an http://"),
        ({"POINTMILL_URL": "http://", "POINTMILL_API_KEY": "k"}, "is not an http://"),
        ({"POINTMILL_URL": "http://a"}, "POINTMILL_API_KEY is not set"),
    ],
)
def test_what_is_missing_is_named_with_a_remedy(environment: dict[str, str], named: str) -> None:
    with pytest.raises(Failure) as caught:
        read_settings(environment, None)
    assert named in caught.value.detail
    assert "export" in caught.value.remedy


def test_a_broken_key_is_refused_and_never_repeated() -> None:
    environment = {"POINTMILL_URL": "http://a", "POINTMILL_API_KEY": "se\ncret"}
    with pytest.raises(Failure) as caught:
        read_settings(environment, None)
    assert "cret" not in str(caught.value.to_dict())


def test_the_key_is_not_shown_with_the_settings() -> None:
    settings = read_settings({"POINTMILL_URL": "http://a", "POINTMILL_API_KEY": "secret"}, None)
    assert "secret" not in repr(settings)
