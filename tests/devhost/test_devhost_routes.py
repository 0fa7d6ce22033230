"""Route templates of Azure."""

import pytest

from devhost.routes import RouteError, compile_route

UUID = "0af76519-16cd-43dd-8448-eb211c80319c"


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("api/items", "api/items", {}),
        ("api/items/{id}", "api/items/a b", {"id": "a b"}),
        ("api/items/{id:int}", "api/items/-7", {"id": "-7"}),
        ("api/items/{id:int}", "api/items/x", None),
        ("api/items/{id:int:min(5)}", "api/items/4", None),
        ("api/items/{id:range(1,3)}", "api/items/3", {"id": "3"}),
        ("api/{id:guid}", f"api/{UUID}", {"id": UUID}),
        ("api/items/{id:length(3)}", "api/items/abcd", None),
        ("api/items/{id:alpha:maxlength(2)}", "api/items/abc", None),
        ("api/items/{id:alpha:maxlength(2)}", "api/items/a1", None),
        ("api/items/{id:regex(^a.c$)}", "api/items/abc", {"id": "abc"}),
        ("api/items/{id?}", "api/items", {}),
        ("api/items/{id=7}", "api/items", {"id": "7"}),
        ("api/{*rest}", "api/a/b", {"rest": "a/b"}),
        ("api/{*rest}", "api", {}),
        ("api/{a}.{b}", "api/name.txt", {"a": "name", "b": "txt"}),
        ("{a}/{b}", "one/two/three", None),
    ],
)  # fmt: skip
def test_a_template_accepts_what_azure_accepts(template: str, path: str, values: dict[str, str] | None) -> None:
    assert compile_route(template).match(path) == values


def test_the_more_specific_route_ranks_first() -> None:
    templates = ["api/{*rest}", "api/{id}", "api/{id:int}", "api/items"]
    assert sorted(templates, key=lambda t: compile_route(t).rank) == templates[::-1]


@pytest.mark.parametrize("template", ["api/{id:odd}", "api/{id", "api/{id}/{ID}", "api/{}"])
def test_a_malformed_template_is_refused(template: str) -> None:
    with pytest.raises(RouteError):
        compile_route(template)
