"""Forms, read in one way: URL-encoded text, small, without files. Anything else is answered, never an error of ours."""

from __future__ import annotations

from aiohttp import web

KIND = "application/x-www-form-urlencoded"


async def fields(request: web.Request) -> dict[str, str]:
    """The fields of a form, stripped; of a field that comes twice, the first. What is no form raises HTTP errors."""
    if request.content_type != KIND:
        if request.can_read_body:
            raise web.HTTPUnsupportedMediaType(reason=f"send {KIND}")
        return {}
    try:
        found = await request.post()
        given = [(name, value.strip()) for name, value in found.items() if isinstance(value, str)]
        for name, value in given:
            (name + value).encode()  # lone surrogates can neither be stored nor shown
    except (ValueError, LookupError) as error:
        raise web.HTTPBadRequest(reason="the form cannot be read") from error
    return dict(reversed(given))
