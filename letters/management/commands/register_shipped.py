from typing import Any

from django.core.management.base import BaseCommand, CommandError

from letters import registry
from ml.artifact import BadArtifact


class Command(BaseCommand):
    help = "Register the model that ships with the code; it serves where nothing, or an older shipped one, does."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            version = registry.register_shipped()
        except BadArtifact as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(f"{version} ({version.digest[:12]}) is registered; {registry.current()} serves.")
