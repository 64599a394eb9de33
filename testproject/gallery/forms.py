"""The upload form."""

from pathlib import Path

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.core.validators import FileExtensionValidator

from .models import Photo

MAX_BYTES = 20 * 1024 * 1024
FORMATS = ("jpg", "jpeg", "png", "webp", "tif", "tiff")


class UploadForm(forms.ModelForm):
    """One photograph; without a title it is named after its file."""

    title = forms.CharField(max_length=120, required=False, help_text="Left empty, the name of the file.")
    image = forms.ImageField(
        validators=[FileExtensionValidator(FORMATS)], help_text="JPEG, PNG, WebP or TIFF, 20 MB at most."
    )

    class Meta:
        model = Photo
        fields = ("image", "title")

    def clean_image(self) -> UploadedFile:
        image: UploadedFile = self.cleaned_data["image"]
        if (image.size or 0) > MAX_BYTES:
            raise forms.ValidationError("This file is larger than 20 MB.")
        return image

    def clean(self) -> dict[str, object]:
        cleaned = super().clean() or {}
        image = cleaned.get("image")
        if not cleaned.get("title") and isinstance(image, UploadedFile):
            stem = Path(image.name or "Photograph").stem
            cleaned["title"] = stem.replace("_", " ").replace("-", " ").capitalize()[:120]
        return cleaned
