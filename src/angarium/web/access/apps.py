from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "angarium.web.access"
    label = "access"
    verbose_name = "Administration"

    def ready(self) -> None:
        from angarium.web.access import journal

        journal.watch()
