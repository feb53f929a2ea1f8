"""The staff's side: review what was collected, retrain with it, look at the models, take the data away."""

from django.contrib import admin

from letters.admin import drawings, exports, maps, policy, purges, reports, runs, versions

admin.site.site_header = "Letterloop"
admin.site.site_title = "Letterloop"
admin.site.index_title = "Behind the sheet"

__all__ = ["drawings", "exports", "maps", "policy", "purges", "reports", "runs", "versions"]
