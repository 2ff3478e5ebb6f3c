from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "angarium.web.reports"
    label = "reports"
    verbose_name = "Reports"
