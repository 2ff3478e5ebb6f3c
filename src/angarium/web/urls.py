"""Every address of the panel and the API."""

from django.contrib import admin
from django.urls import path, re_path

from angarium.web.api.service import api, nowhere

urlpatterns = [path("api/v1/", api.urls), re_path("^api/", nowhere), path("", admin.site.urls)]
