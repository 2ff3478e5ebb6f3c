from django.apps import AppConfig


class DirectoryConfig(AppConfig):
    name = "angarium.web.directory"
    label = "directory"
    verbose_name = "Audience"
