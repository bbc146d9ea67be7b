"""The service's endpoints as an experienced Flask developer writes them: PyMongo, Flask-JWT-Extended, marshmallow,
Pillow and boto3. Pictures are made as in the replaced app: every second frame of an animation, resized to 64x64.

gunicorn --worker-class gthread --threads 16 'app:create_app()'
"""
import os
import secrets
import uuid
from datetime import datetime, timezone
from io import BytesIO
from math import ceil

import boto3
from botocore.config import Config
from bson import ObjectId
from bson.errors import InvalidId
from flask import Blueprint, Flask, current_app, jsonify, request
from flask_jwt_extended import JWTManager, create_access_token, get_jwt_identity, jwt_required
from marshmallow import Schema, ValidationError, fields, validate
from PIL import Image
from pymongo import DESCENDING, MongoClient, ReturnDocument
from werkzeug.middleware.proxy_fix import ProxyFix

THUMBNAIL = (64, 64)
MAX_PER_PAGE = 100
EXTENSIONS = {"GIF": "gif", "PNG": "png", "JPEG": "jpg", "WEBP": "webp"}

auth = Blueprint("auth", __name__, url_prefix="/auth")
users = Blueprint("users", __name__, url_prefix="/users")
library = Blueprint("library", __name__, url_prefix="/library")


class RequestOtp(Schema):
    phone = fields.String(required=True, validate=validate.Regexp(r"^\+?\d{6,15}$"))


class VerifyOtp(RequestOtp):
    otp = fields.String(required=True)


class Page(Schema):
    page = fields.Integer(load_default=1, validate=validate.Range(min=1))
    per_page = fields.Integer(load_default=10, validate=validate.Range(min=1))


request_otp_schema, verify_otp_schema, page_schema = RequestOtp(), VerifyOtp(), Page()


def create_app():
    app = Flask(__name__)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)
    app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
    app.config["MAX_CONTENT_LENGTH"] = 10 * 1024 * 1024
    app.json.sort_keys = False
    JWTManager(app)
    app.db = MongoClient(os.environ["MONGO_URI"]).get_default_database()
    app.db.library.create_index([("created_at", DESCENDING), ("_id", DESCENDING)])
    app.db.users.create_index("number", unique=True)
    app.bucket = os.environ["S3_BUCKET"]
    app.media_url = f"{os.environ['S3_ENDPOINT']}/{app.bucket}"
    app.s3 = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT"],
        region_name=os.environ["S3_REGION"],
        config=Config(max_pool_connections=32, s3={"addressing_style": "path"}),
    )
    for blueprint in (auth, users, library):
        app.register_blueprint(blueprint)
    app.register_error_handler(ValidationError, lambda error: (jsonify(errors=error.messages), 400))
    return app


@auth.post("/request-otp")
def request_otp():
    phone = request_otp_schema.load(request.get_json())["phone"]
    code = f"{secrets.randbelow(1_000_000):06}"
    current_app.db.otps.update_one(
        {"_id": phone}, {"$set": {"otp": code, "created_at": datetime.now(timezone.utc)}}, upsert=True
    )
    print(f"SMS to {phone}: your code is {code}", flush=True)
    return jsonify(message="OTP sent")


@auth.post("/verify-otp")
def verify_otp():
    data = verify_otp_schema.load(request.get_json())
    row = current_app.db.otps.find_one({"_id": data["phone"]})
    if row is None or not secrets.compare_digest(row["otp"].encode(), data["otp"].encode()):
        return jsonify(success=False, message="Invalid OTP")
    current_app.db.otps.delete_one({"_id": data["phone"]})
    account = current_app.db.users.find_one_and_update(
        {"number": data["phone"]},
        {"$setOnInsert": {"created_on": datetime.now(timezone.utc)}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    return jsonify(success=True, message="OTP verified", access_token=create_access_token(str(account["_id"])))


@users.get("/me")
@jwt_required()
def me():
    return user_with(get_jwt_identity())


@users.get("/<user_id>")
@jwt_required()
def user(user_id):
    return user_with(user_id)


def user_with(user_id):
    try:
        row = current_app.db.users.find_one({"_id": ObjectId(user_id)})
    except InvalidId:
        return jsonify(error="Invalid user id"), 400
    if row is None:
        return jsonify(error="User not found"), 404
    return jsonify(
        _id=str(row["_id"]),
        username=row.get("username"),
        number=row["number"],
        created_on=iso(row["created_on"]),
        admin=row.get("admin", False),
    )


@library.get("")
@jwt_required()
def items():
    query = page_schema.load(request.args)
    page, per_page = query["page"], min(query["per_page"], MAX_PER_PAGE)
    total = current_app.db.library.count_documents({})
    rows = (
        current_app.db.library.find()
        .sort([("created_at", DESCENDING), ("_id", DESCENDING)])
        .skip((page - 1) * per_page)
        .limit(per_page)
    )
    response = jsonify(
        items=[present(row) for row in rows],
        page=page,
        per_page=per_page,
        total=total,
        total_pages=ceil(total / per_page),
    )
    response.add_etag()
    return response.make_conditional(request)


@library.post("/upload")
@jwt_required()
def upload():
    file = request.files.get("file")
    if file is None:
        return jsonify(error="No file part"), 400
    if file.filename == "":
        return jsonify(error="No selected file"), 400
    user_id = request.form.get("user_id")
    if not user_id:
        return jsonify(error="Missing user_id"), 400
    original = file.read()
    try:
        picture, thumbnail = read_picture(original)
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return jsonify(error="Unsupported file type"), 400
    folder = f"library/{uuid.uuid4()}"
    key = f"{folder}/original.{EXTENSIONS[picture.format]}"
    put(key, original, picture.get_format_mimetype())
    put(f"{folder}/64x64.{EXTENSIONS[picture.format]}", thumbnail, picture.get_format_mimetype())
    frames = getattr(picture, "n_frames", 1)
    row = {
        "key": key,
        "owner": ObjectId(get_jwt_identity()),
        "user_id": user_id,
        "type": "gif" if picture.format == "GIF" else "image",
        "category": request.form.get("category") or ("GIF" if picture.format == "GIF" else "Images"),
        "content_type": picture.get_format_mimetype(),
        "size": len(original),
        "width": picture.width,
        "height": picture.height,
        "frames": frames,
        "renditions": [{"size": "64x64", "bytes": len(thumbnail), "frames": ceil(frames / 2)}],
        "created_at": datetime.now(timezone.utc),
    }
    inserted = current_app.db.library.insert_one(row)
    return jsonify(message="File uploaded", id=str(inserted.inserted_id), url=f"{current_app.media_url}/{key}"), 201


def read_picture(content):
    """Decodes every second frame, and returns the picture and its thumbnail in the same format."""
    picture = Image.open(BytesIO(content), formats=list(EXTENSIONS))
    thumbnail = BytesIO()
    if not getattr(picture, "is_animated", False):
        picture.convert("RGB").resize(THUMBNAIL).save(thumbnail, picture.format)
        return picture, thumbnail.getvalue()
    frames, durations = [], []
    for index in range(0, picture.n_frames, 2):
        picture.seek(index)
        frames.append(picture.convert("RGB").resize(THUMBNAIL))
        durations.append(2 * picture.info.get("duration", 100))
    frames[0].save(
        thumbnail, picture.format, save_all=True, append_images=frames[1:], duration=durations, loop=0
    )
    return picture, thumbnail.getvalue()


def put(key, body, content_type):
    current_app.s3.put_object(Bucket=current_app.bucket, Key=key, Body=body, ContentType=content_type)


def present(row):
    url = f"{current_app.media_url}/{row['key']}"
    folder = url.rsplit("/", 1)[0]
    return {
        "id": str(row["_id"]),
        "url": url,
        "user_id": row["user_id"],
        "created_at": iso(row["created_at"]),
        "type": row["type"],
        "category": row["category"],
        "owner_id": str(row["owner"]) if row.get("owner") else None,
        "title": row.get("title"),
        "original_url": url,
        "content_type": row["content_type"],
        "size": row["size"],
        "sha256": row.get("sha256"),
        "width": row["width"],
        "height": row["height"],
        "frames": row["frames"],
        "duration_ms": row.get("duration_ms"),
        "dominant_color": row.get("dominant_color"),
        "renditions": {
            made["size"]: {
                "url": f"{folder}/{made['size']}.gif",
                "content_type": "image/gif",
                "bytes": made["bytes"],
                "frames": made["frames"],
                "duration_ms": made.get("duration_ms"),
                "ble_seconds": ceil(made["bytes"] / 900) / 10,
            }
            for made in row["renditions"]
        },
    }


def iso(moment):
    return moment.isoformat(timespec="milliseconds") + "Z"
