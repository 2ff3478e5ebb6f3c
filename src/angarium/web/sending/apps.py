from django.apps import AppConfig


class SendingConfig(AppConfig):
    name = "angarium.web.sending"
    label = "sending"
    verbose_name = "Settings – MTA"

    def ready(self) -> None:
        from angarium.web.sending.changes import protect_defaults, watch

        watch(self)
        protect_defaults(self)
