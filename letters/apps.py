from django.apps import AppConfig
from django.conf import settings


class LettersConfig(AppConfig):
    name = "letters"
    verbose_name = "Letters"

    def ready(self) -> None:
        from letters import checks

        if settings.PRODUCTION:
            checks.refuse()
        from letters import export  # noqa: F401 - what follows when a drawing is deleted
