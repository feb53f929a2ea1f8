"""Every address of the site."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView

from letters import model_pages, privacy_page, report_pages, views, watching
from letters.admin.drift import drift_page
from letters.admin.review import review_page
from letters.api import drawings, exports, maps, mine, models, review, runs

api_v1 = [
    path("predictions", drawings.PredictionsView.as_view()),
    path("drawings", drawings.DrawingsView.as_view()),
    path("drawings/mine", mine.MyDrawingsView.as_view()),
    path("drawings/mine/file", mine.MyFileView.as_view()),
    path("drawings/mine/deletion", mine.MyDeletionView.as_view()),
    path("drawings/<uuid:drawing_id>", drawings.DrawingView.as_view()),
    path("models", models.ModelsView.as_view()),
    path("models/current", models.CurrentModelView.as_view()),
    path("models/<int:number>", models.ModelView.as_view(), name="api-model"),
    path("maps", maps.MapsView.as_view()),
    path("maps/umap", maps.UmapView.as_view()),
    path("maps/jobs/<uuid:map_id>", maps.MapJobView.as_view()),
    path("maps/jobs/<uuid:map_id>/cancel", maps.CancelMapView.as_view()),
    path("maps/<uuid:map_id>/emnist", maps.EmnistPointsView.as_view(), name="map-emnist"),
    path("maps/<uuid:map_id>/collected", maps.CollectedPointsView.as_view(), name="map-collected"),
    path("maps/<uuid:map_id>/sheets/<int:number>", maps.SheetView.as_view(), name="map-sheet"),
    path("maps/<uuid:map_id>/<str:name>", maps.MapFileView.as_view(), name="map-file"),
    path("maps/<str:method>", maps.MapView.as_view()),
    path("emnist/summary", maps.EmnistView.as_view()),
    path("emnist/<str:kind>/<str:label>.png", maps.EmnistPictureView.as_view()),
    path("review/cards", review.CardsView.as_view()),
    path("review/cards/<uuid:drawing_id>", review.CardView.as_view()),
    path("review/release", review.ReleaseView.as_view()),
    path("review/decisions", review.DecisionsView.as_view()),
    path("review/decisions/bulk", review.BulkDecisionsView.as_view()),
    path("review/undo", review.UndoView.as_view()),
    path("contributors/<uuid:contributor_id>/mute", review.MuteView.as_view()),
    path("models/<int:number>/promote", runs.PromoteView.as_view()),
    path("deployments", runs.DeploymentsView.as_view()),
    path("training-runs", runs.RunsView.as_view()),
    path("training-runs/<uuid:run_id>", runs.RunView.as_view()),
    path("training-runs/<uuid:run_id>/cancel", runs.CancelView.as_view()),
    path("exports", exports.ExportsView.as_view()),
    path("exports/<uuid:export_id>", exports.OneExportView.as_view()),
    path("schema/", SpectacularJSONAPIView.as_view(), name="schema"),
]

urlpatterns = [
    path("", views.draw, name="draw"),
    path("samples", views.samples, name="samples"),
    path("samples/<uuid:drawing_id>.png", views.sample_image, name="sample-image"),
    path("samples/<uuid:drawing_id>", report_pages.letter, name="sample"),
    path("explore/", views.explore, name="explore"),
    path("explore/emnist/", views.explore_emnist, name="explore-emnist"),
    path("model/", model_pages.serving, name="model"),
    path("model/compare/", model_pages.comparison, name="model-compare"),
    path("model/<int:number>/", model_pages.version, name="model-version"),
    path("about", views.about, name="about"),
    path("privacy", privacy_page.privacy, name="privacy"),
    path("drawings/<uuid:drawing_id>", views.drawing, name="drawing"),
    path("mine", views.mine, name="mine"),
    path("api/", views.api_docs, name="api-docs"),
    path("api/v1/", include(api_v1)),
    path("healthz", watching.healthz, name="healthz"),
    path("readyz", watching.readyz, name="readyz"),
    path("metrics", watching.metrics, name="metrics"),
    path("admin/drift/", admin.site.admin_view(drift_page), name="drift"),
    path("admin/review/", admin.site.admin_view(review_page), name="review"),
    path("admin/", admin.site.urls),
]

handler404 = "letters.views.not_found"
handler500 = "letters.views.server_error"
