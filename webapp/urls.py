"""Every address of the site."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView

from letters import api, api_exports, api_maps, api_models, api_review, api_runs, model_pages, views
from letters.admin.review import review_page

api_v1 = [
    path("predictions", api.PredictionsView.as_view()),
    path("drawings", api.DrawingsView.as_view()),
    path("drawings/mine", api.MyDrawingsView.as_view()),
    path("drawings/<uuid:drawing_id>", api.DrawingView.as_view()),
    path("models", api.ModelsView.as_view()),
    path("models/current", api.CurrentModelView.as_view()),
    path("models/<int:number>", api_models.ModelView.as_view(), name="api-model"),
    path("maps", api_maps.MapsView.as_view()),
    path("maps/umap", api_maps.UmapView.as_view()),
    path("maps/jobs/<uuid:map_id>", api_maps.MapJobView.as_view()),
    path("maps/jobs/<uuid:map_id>/cancel", api_maps.CancelMapView.as_view()),
    path("maps/<uuid:map_id>/emnist", api_maps.EmnistPointsView.as_view(), name="map-emnist"),
    path("maps/<uuid:map_id>/collected", api_maps.CollectedPointsView.as_view(), name="map-collected"),
    path("maps/<uuid:map_id>/sheets/<int:number>", api_maps.SheetView.as_view(), name="map-sheet"),
    path("maps/<uuid:map_id>/<str:name>", api_maps.MapFileView.as_view(), name="map-file"),
    path("maps/<str:method>", api_maps.MapView.as_view()),
    path("emnist/summary", api_maps.EmnistView.as_view()),
    path("emnist/<str:kind>/<str:label>.png", api_maps.EmnistPictureView.as_view()),
    path("review/cards", api_review.CardsView.as_view()),
    path("review/cards/<uuid:drawing_id>", api_review.CardView.as_view()),
    path("review/release", api_review.ReleaseView.as_view()),
    path("review/decisions", api_review.DecisionsView.as_view()),
    path("review/decisions/bulk", api_review.BulkDecisionsView.as_view()),
    path("review/undo", api_review.UndoView.as_view()),
    path("contributors/<uuid:contributor_id>/mute", api_review.MuteView.as_view()),
    path("models/<int:number>/promote", api_runs.PromoteView.as_view()),
    path("deployments", api_runs.DeploymentsView.as_view()),
    path("training-runs", api_runs.RunsView.as_view()),
    path("training-runs/<uuid:run_id>", api_runs.RunView.as_view()),
    path("training-runs/<uuid:run_id>/cancel", api_runs.CancelView.as_view()),
    path("exports", api_exports.ExportsView.as_view()),
    path("exports/<uuid:export_id>", api_exports.OneExportView.as_view()),
    path("schema/", SpectacularJSONAPIView.as_view(), name="schema"),
]

urlpatterns = [
    path("", views.draw, name="draw"),
    path("samples", views.samples, name="samples"),
    path("samples/<uuid:drawing_id>.png", views.sample_image, name="sample-image"),
    path("explore/", views.explore, name="explore"),
    path("explore/emnist/", views.explore_emnist, name="explore-emnist"),
    path("model/", model_pages.serving, name="model"),
    path("model/compare/", model_pages.comparison, name="model-compare"),
    path("model/<int:number>/", model_pages.version, name="model-version"),
    path("about", views.about, name="about"),
    path("drawings/<uuid:drawing_id>", views.drawing, name="drawing"),
    path("mine", views.mine, name="mine"),
    path("api/", views.api_docs, name="api-docs"),
    path("api/v1/", include(api_v1)),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("admin/review/", admin.site.admin_view(review_page), name="review"),
    path("admin/", admin.site.urls),
]

handler404 = "letters.views.not_found"
handler500 = "letters.views.server_error"
