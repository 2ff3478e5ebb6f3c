from django.apps import AppConfig


class QueuesConfig(AppConfig):
    name = "angarium.web.queues"
    label = "queues"
    verbose_name = "Sender queue"
