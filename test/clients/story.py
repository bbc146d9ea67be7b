"""Uses the service by the client that openapi-generator makes for Python: story.py URL NUMBER CODE PICTURE."""
import sys

sys.path.insert(0, ".")
import hookaba  # noqa: E402

url, number, code, picture = sys.argv[1:]
client = hookaba.ApiClient(hookaba.Configuration(host=url))
auth, users, library = hookaba.AuthApi(client), hookaba.UsersApi(client), hookaba.LibraryApi(client)


def refusal(status, call, *args, **kwargs):
    """The body of an answer that must be a refusal."""
    try:
        call(*args, **kwargs)
    except hookaba.ApiException as error:
        assert error.status == status, (status, error)
        return error.data
    raise AssertionError(f"{call} was not refused")


assert auth.request_otp(hookaba.OtpRequest(phone=number, platform="web")).message == "OTP sent"
wrong = auth.verify_otp(hookaba.OtpVerification(phone=number, otp="000000"))
assert (wrong.success, wrong.message, wrong.access_token) == (False, "Invalid OTP", None), wrong
right = auth.verify_otp(hookaba.OtpVerification(phone=number, otp=code, refresh=True))
assert right.success is True and right.access_token and right.refresh_token and right.token_type == "Bearer", right
assert refusal(401, users.get_current_user).error == "Missing access token"
client.configuration.access_token = right.access_token

bad = refusal(400, users.create_user, hookaba.UserCreation(username="python", number="none"))
assert bad.errors == {"number": ["Not a valid phone number."]} and bad.error is None, bad
user_id = users.create_user(hookaba.UserCreation(username="python", number=number, admin=None), idempotency_key="python-1").user_id
assert refusal(403, users.create_user, hookaba.UserCreation(username="other", number="+919999911111")).error
me = users.change_current_user(hookaba.CurrentUserChange(username=None))
assert (me.username, me.number, me.id, me.admin) == ("python", number, user_id, False), me
assert refusal(400, users.get_user, "0").error == "Invalid user id"

with open(picture, "rb") as file:
    item = library.upload_file(("picture.gif", file.read()), "python", category=None, title=None, type=None, fit=None)
assert (item.type, item.category, item.title, item.user_id) == ("gif", "GIF", None, "python"), item
empty = library.upload_file(("picture.gif", open(picture, "rb").read()), "python", category="", title="", type="", fit="")
assert (empty.category, empty.title) == ("GIF", None), empty
assert refusal(400, library.upload_file, ("a.txt", b"no picture"), "python").error == "Unsupported file type"
page = library.list_library(mine=True, q=None)
assert [entry.id for entry in page.items] == [empty.id, item.id] and page.next_cursor is None and page.total == 2, page
assert page.items[0].renditions["64x64"].url
assert library.get_library_item(item.id).created_at == item.created_at
assert refusal(404, library.get_library_item, user_id).error == "Library item not found"
library.remove_library_item(item.id)
assert auth.list_sessions().sessions[0].current is True
assert users.export_current_user().items[0].id == empty.id
auth.log_out()
