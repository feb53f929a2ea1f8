"""How static files are stored: compressed, and under names that carry the hash of their content."""

from whitenoise.storage import CompressedManifestStaticFilesStorage  # type: ignore[import-untyped]


class StaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Modules import each other by those names too: a browser would load each twice, once by a name it cannot keep."""

    support_js_module_import_aggregation = True
