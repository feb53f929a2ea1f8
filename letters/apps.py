from django.apps import AppConfig


class LettersConfig(AppConfig):
    name = "letters"
    verbose_name = "Letters"

    def ready(self) -> None:
        from letters import checks, export  # noqa: F401 - system checks, and what follows when a drawing is deleted
