"""Thumbnails and EXIF reports, without database and jobs."""

from io import BytesIO

from django.test import SimpleTestCase
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from gallery import exif, images

from .pictures import camera, picture


def open_image(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


class ThumbnailTests(SimpleTestCase):
    def test_fits_the_box_and_keeps_the_proportions(self) -> None:
        made = open_image(images.thumbnail(BytesIO(picture((600, 450))), 160))
        assert (made.format, made.size) == ("JPEG", (160, 120))

    def test_never_enlarges(self) -> None:
        made = open_image(images.thumbnail(BytesIO(picture((50, 40))), 160))
        assert made.size == (50, 40)

    def test_turns_what_was_taken_upright(self) -> None:
        source = picture((600, 450), exif=camera(Orientation=6))
        made = open_image(images.thumbnail(BytesIO(source), 160))
        assert made.size == (120, 160)
        assert Base.Orientation not in made.getexif()

    def test_transparency_becomes_white(self) -> None:
        source = BytesIO()
        Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(source, "PNG")
        made = open_image(images.thumbnail(source, 160)).convert("RGB")
        assert made.getpixel((10, 10)) == (255, 255, 255)


class ExifTests(SimpleTestCase):
    def report(self, tags: Image.Exif) -> exif.Report:
        return exif.report(BytesIO(picture(exif=tags)))

    def test_a_file_without_exif_has_a_picture_alone(self) -> None:
        assert self.report(Image.Exif()) == {"Picture": {"Format": "JPEG", "Size": "600 by 450 pixels"}}

    def test_values_are_words_that_people_read(self) -> None:
        report = self.report(
            camera(
                Make="CASIO \0",
                Model="QV-R51 ",
                ExposureTime=0.008,
                FNumber=6.2,
                ISOSpeedRatings=50,
                Flash=16,
                DateTimeOriginal="2006:02:14 22:00:58",
            )
        )
        assert report["Camera"] == {"Maker": "CASIO", "Model": "QV-R51"}
        assert report["Exposure"] == {"Time": "1/125 s", "Aperture": "f/6.2", "ISO": "50", "Flash": "did not fire"}
        assert report["Taken"] == {"Date": "2006-02-14 22:00:58"}

    def test_a_long_exposure_is_shown_in_seconds(self) -> None:
        assert exif.exposure(2.5) == "2.5 s"

    def test_a_date_that_is_none_of_exif_stays_as_it_is(self) -> None:
        assert exif.moment("2012-09-17T15:53:45-04:00") == "2012-09-17T15:53:45-04:00"

    def test_the_west_and_the_south_are_negative(self) -> None:
        tags = Image.Exif()
        tags[IFD.GPSInfo] = {
            GPS.GPSLatitudeRef: "S",
            GPS.GPSLatitude: (33.0, 30.0, 0.0),
            GPS.GPSLongitudeRef: "W",
            GPS.GPSLongitude: (70.0, 39.0, 36.0),
        }
        assert self.report(tags)["Place"] == {"Latitude": "-33.500000°", "Longitude": "-70.660000°"}

    def test_a_value_that_makes_no_sense_is_left_out(self) -> None:
        rows = exif.rows(
            {Base.ExposureTime: 0, Base.FNumber: "wide", Base.ISOSpeedRatings: 100}, exif.SECTIONS["Exposure"]
        )
        assert rows == {"ISO": "100"}
