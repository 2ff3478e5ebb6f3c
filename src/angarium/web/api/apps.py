from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "angarium.web.api"
    label = "api"
