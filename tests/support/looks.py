"""The windows in which people look at the console."""

from typing import Any

LOOKS: dict[str, dict[str, Any]] = {
    "dark": {"dark": True},
    "tablet": {"width": 768, "height": 1024},
    "phone": {"width": 390, "height": 844, "touch": True},
    "phone-dark": {"width": 390, "height": 844, "touch": True, "dark": True},
}
