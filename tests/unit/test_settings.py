"""Settings from the environment."""

import pytest

from perdure.settings import ROOT, Settings, SettingsError


def test_nothing_set_means_embedded_state_and_no_model_endpoint() -> None:
    settings = Settings.from_env({})
    assert settings.state_path == str(ROOT / ".perdure" / "state.db")
    assert not settings.has_model
    assert settings.default_agent == "assistant"


def test_an_empty_variable_counts_as_absent() -> None:
    assert Settings.from_env(
        {"OPENAI_API_KEY": " ", "PERDURE_STATE": "", "PERDURE_MODEL_TIMEOUT": ""}
    ) == Settings.from_env({})


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT"])
def test_any_endpoint_or_key_chooses_a_real_model(name: str) -> None:
    assert Settings.from_env({name: "https://example.com/v1"}).has_model


def test_state_may_be_a_file_anywhere() -> None:
    assert Settings.from_env({"PERDURE_STATE": "sqlite:/var/lib/x.db"}).state_path == "/var/lib/x.db"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PERDURE_STATE": "postgres://x"}, "PERDURE_STATE"),
        ({"PERDURE_STATE": "sqlite:"}, "PERDURE_STATE"),
        ({"PERDURE_STATE": "cosmos"}, "COSMOS_ENDPOINT"),
        ({"PERDURE_STATE": "cosmos", "COSMOS_ENDPOINT": "account"}, "COSMOS_ENDPOINT.*https://"),
        ({"COSMOS_ENDPOINT": "http://[::1"}, "COSMOS_ENDPOINT"),
        ({"COSMOS_ENDPOINT": "http://x:port"}, "COSMOS_ENDPOINT"),
        ({"COSMOS_DATABASE": "a/b"}, "COSMOS_DATABASE"),
        ({"COSMOS_KEY": "abc"}, "COSMOS_KEY"),
        ({"OPENAI_BASE_URL": "localhost:11434/v1"}, "OPENAI_BASE_URL.*https://"),
        ({"AZURE_OPENAI_ENDPOINT": "https://"}, "AZURE_OPENAI_ENDPOINT"),
        ({"PERDURE_MODEL_TIMEOUT": "soon"}, "PERDURE_MODEL_TIMEOUT"),
        ({"PERDURE_MODEL_TIMEOUT": "0"}, "PERDURE_MODEL_TIMEOUT"),
        ({"PERDURE_MODEL_TIMEOUT": "nan"}, "PERDURE_MODEL_TIMEOUT"),
        ({"PERDURE_EMBEDDING_MODEL": "x"}, "no endpoint"),
        ({"PERDURE_EMBEDDING_DIMENSIONS": "0"}, "PERDURE_EMBEDDING_DIMENSIONS"),
        ({"PERDURE_EMBEDDING_DIMENSIONS": "5000"}, "PERDURE_EMBEDDING_DIMENSIONS"),
        ({"PERDURE_EMBEDDING_DIMENSIONS": "big"}, "PERDURE_EMBEDDING_DIMENSIONS"),
        ({"OPENAI_BASE_URL": "http://x/v1", "AZURE_OPENAI_ENDPOINT": "https://y"}, "both set"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_env(environ)
