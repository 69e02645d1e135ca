"""Being written."""

app_name = "deployments"
urlpatterns: list = []
