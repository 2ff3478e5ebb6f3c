from django.apps import AppConfig


class MailingsConfig(AppConfig):
    name = "angarium.web.mailings"
    label = "mailings"
    verbose_name = "Mailings"
