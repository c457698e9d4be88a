"""What the kubelet makes of a container's command, args and env before it starts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Expand $(NAME) and take a $ off $$, as third_party/forked/golang/expansion of Kubernetes does."""
    out, position = [], 0
    while position < len(text):
        char = text[position]
        following = text[position + 1 : position + 2]
        if char != "$" or not following:
            out.append(char)
            position += 1
        elif following == "$":
            out.append("$")
            position += 2
        elif following == "(" and ")" in text[position:]:
            end = text.index(")", position)
            name = text[position + 2 : end]
            out.append(variables.get(name, f"$({name})"))
            position = end + 1
        else:
            out.append(char + following)
            position += 2
    return "".join(out)


def environment(container: Mapping) -> dict[str, str]:
    """Return the container's variables that have a plain value."""
    variables: dict[str, str] = {}
    for item in container.get("env") or []:
        variables[item["name"]] = expand(item.get("value", ""), variables)
    return variables


def arguments(container: Mapping, words: Sequence[str]) -> list[str]:
    """Return the words as the process gets them."""
    return [expand(word, environment(container)) for word in words]
