"""What a function's signature and docstring say about it, read once, when the tool is declared.

1. The docstring's text becomes the tool's description; its `Args:` section describes the parameters.
2. Every parameter becomes a field of a pydantic model, except the one that receives the tool's context.
3. The model gives the JSON Schema that language models are told, and later validates what they write.

A function that cannot be described is refused here, with the file, the function and the parameter in the message: a
mistake in a tool should stop the start, not a conversation.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from perdure.tools.docstring import parse_docstring

FIELD_PREFIX = "arg_"
"""Field names carry it so that no parameter name (`schema`, `copy`, `_x`) clashes with one of pydantic's own."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A tool function as its author described it.

    Attributes:
        parameters: JSON Schema of the arguments.
        arguments: The model that validates them; each field's alias is the parameter's name.
        context_parameter: Name of the parameter that receives the context; None when there is none.
    """

    description: str
    parameters: dict[str, Any]
    arguments: type[BaseModel]
    context_parameter: str | None


class _UntitledSchema(GenerateJsonSchema):
    """Leaves out the titles that pydantic derives from names: they cost tokens and say nothing new."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def declaration(function: Callable[..., Any], context_type: type) -> Declaration:
    """Read a function's signature and docstring.

    Args:
        function: A plain function, sync or async.
        context_type: A parameter annotated with this type is injected and hidden from the model.

    Raises:
        TypeError: The function cannot be a tool; the message says where and what would be right.
    """
    where = _location(function)
    documentation = parse_docstring(function.__doc__ or "")
    if not documentation.text:
        raise TypeError(f"{where}: the docstring is missing; say in it what the tool does, for the model to read")
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError as error:
        raise TypeError(f"{where}: an annotation cannot be resolved ({error}); import its type at run time") from error

    parameters = signature.parameters
    for described in documentation.parameters:
        if described not in parameters:
            near = get_close_matches(described, parameters, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; remove it or add the parameter"
            raise TypeError(f"{where}: the docstring describes {described!r}, which is not a parameter{hint}")

    context_parameter: str | None = None
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        place = f"{where}: parameter {name!r}"
        _check_form(place, parameter)
        if parameter.annotation is context_type:
            if context_parameter is not None:
                raise TypeError(f"{place} is a second {context_type.__name__}; one is enough")
            context_parameter = name
            continue
        fields[FIELD_PREFIX + name] = _field(place, parameter, documentation.parameters.get(name))

    arguments, schema = _model(where, function.__name__, fields)
    return Declaration(documentation.text, schema, arguments, context_parameter)


def _location(function: Callable[..., Any]) -> str:
    if not inspect.isfunction(function):
        raise TypeError(f"{function!r} cannot be a tool; decorate a plain function written with def or async def")
    where = f"tool {function.__name__} ({function.__code__.co_filename}:{function.__code__.co_firstlineno})"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{where}: it yields; a tool returns its whole result")
    return where


def _check_form(place: str, parameter: inspect.Parameter) -> None:
    match parameter.kind:
        case inspect.Parameter.VAR_POSITIONAL:
            raise TypeError(
                f"{place}: *{parameter.name} has no schema; take a list, such as {parameter.name}: list[str]"
            )
        case inspect.Parameter.VAR_KEYWORD:
            raise TypeError(f"{place}: **{parameter.name} has no schema; name each parameter")
        case inspect.Parameter.POSITIONAL_ONLY:
            raise TypeError(f"{place} is positional-only, but models pass arguments by name; remove the '/'")
        case _:
            pass
    if parameter.annotation is inspect.Parameter.empty:
        raise TypeError(f"{place} has no annotation; write its type, such as {parameter.name}: str")
    if isinstance(parameter.default, FieldInfo):
        raise TypeError(
            f"{place} has Field() as its default; write {parameter.name}: Annotated[TYPE, Field(...)] = VALUE"
        )


def _field(place: str, parameter: inspect.Parameter, description: str | None) -> tuple[Any, Any]:
    annotation = parameter.annotation
    kind, *extras = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    # Later entries win: an author's Field(description=...) over the docstring, our alias over everything.
    annotated = Annotated[(kind, Field(description=description), *extras, Field(alias=parameter.name))]
    if parameter.default is inspect.Parameter.empty:
        return annotated, ...
    try:
        TypeAdapter[Any](annotation).validate_python(parameter.default, strict=True)
    except ValidationError as error:
        raise TypeError(
            f"{place}: the default {parameter.default!r} does not fit its annotation ({error.errors()[0]['msg']}); "
            "change one of them (write `| None` if None is meant)"
        ) from error
    except PydanticUserError as error:
        raise _unsupported(place, annotation) from error
    return annotated, parameter.default


def _model(where: str, name: str, fields: dict[str, Any]) -> tuple[type[BaseModel], dict[str, Any]]:
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    try:
        model = create_model(f"{name}_arguments", __config__=config, **fields)
        schema = model.model_json_schema(schema_generator=_UntitledSchema)
    except PydanticUserError as error:
        for field, (annotated, _) in fields.items():
            _check_type(f"{where}: parameter {field.removeprefix(FIELD_PREFIX)!r}", get_args(annotated)[0])
        raise TypeError(f"{where}: its parameters have no JSON Schema: {error.message}") from error
    del schema["title"]
    return model, schema


def _check_type(place: str, annotation: Any) -> None:
    try:
        TypeAdapter[Any](annotation).json_schema()
    except PydanticUserError as error:
        raise _unsupported(place, annotation) from error


def _unsupported(place: str, annotation: Any) -> TypeError:
    return TypeError(
        f"{place}: {annotation!r} cannot be written as JSON; use str, int, float, bool, Literal, a list or dict of "
        "these, a dataclass, a TypedDict or a pydantic model"
    )
