"""A clinic's application that was there before the card: blueprints, passwords, the usual rest.

What the card needed is marked `# card`. `create_app` makes it with the extensions in either
order; nothing else differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Flask, abort, redirect, render_template_string, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    fresh_login_required,
    login_required,
    login_user,
    logout_user,
)
from flask_session import Session
from flask_sqlalchemy import SQLAlchemy
from flask_talisman import Talisman
from flask_wtf.csrf import CSRFProtect
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.security import check_password_hash, generate_password_hash

from cps_auth.errors import HolderNotAllowed
from cps_auth.flask import CpsLogin, cps_required, cps_user  # card
from cps_auth.model import Practitioner

db = SQLAlchemy()


class User(UserMixin, db.Model):  # type: ignore[name-defined, misc]  # made by SQLAlchemy
    """Somebody who works here, with a password, a card or both."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    ps_idnat: Mapped[str | None] = mapped_column(unique=True)  # card


def load_user(user_id: str) -> User | None:
    """Flask-Login's user_loader, as it was."""
    return db.session.get(User, int(user_id))


def user_of_card(practitioner: Practitioner) -> User | None:  # card
    """Return whose card it is; the login is refused where it is nobody's."""
    return db.session.scalars(db.select(User).filter_by(ps_idnat=practitioner.ps_idnat)).first()


def link_card(user: User, practitioner: Practitioner) -> None:  # card
    """Let a card open the account of the user who is logged in: "Associer ma carte"."""
    if user_of_card(practitioner) not in (None, user):
        raise HolderNotAllowed(reason="card-of-another-account")
    user.ps_idnat = practitioner.ps_idnat
    db.session.commit()


accounts = Blueprint("accounts", __name__)
ward = Blueprint("ward", __name__, url_prefix="/ward")


@accounts.route("/password", methods=["GET", "POST"])
def password() -> ResponseReturnValue:
    """Log in by password."""
    if request.method == "POST":
        user = db.session.scalars(db.select(User).filter_by(name=request.form["name"])).first()
        if user is None or not check_password_hash(user.password_hash, request.form["password"]):
            abort(403)
        login_user(user, remember=request.form.get("remember") == "yes")
        return redirect(request.args.get("next") or url_for("ward.home"))
    return render_template_string(
        '<form method="post"><input name="csrf_token" value="{{ csrf_token() }}"></form>'
        '<a href="{{ url_for("cps.login") }}">Card</a>'  # card
    )


@accounts.post("/logout")
def logout() -> ResponseReturnValue:
    """Log out, whoever it is and however they came."""
    logout_user()
    return redirect(url_for("accounts.password"))


@ward.get("/")
@login_required
def home() -> str:
    """Greet whoever works here."""
    card = cps_user()  # card
    return f"{current_user.name} by {'password' if card is None else card.method}"


@ward.get("/keys")
@fresh_login_required
def keys() -> str:
    """Show what a remembered login may not see."""
    return "keys"


@ward.get("/prescriptions")
@cps_required(professions={"10"})  # card
def prescriptions() -> str:
    """Show what needs a doctor's card, whoever is logged in."""
    return render_template_string("{{ current_user.name }} prescribes {{ cps_watch() }}")


@ward.app_errorhandler(404)
def missing(_error: Exception) -> ResponseReturnValue:
    """Answer as the application always did."""
    return "nothing here", 404


def create_app(config: Mapping[str, Any], card_first: bool, **parts: Any) -> Flask:
    """Make the application.

    Args:
        config: its settings.
        card_first: whether `CpsLogin` is made before everything else, or after it.
        parts: judge and cards, as `CpsLogin` takes them.
    """
    app = Flask("clinic")
    app.config.update(config)
    cps = CpsLogin(load_account=user_of_card, link_account=link_card, **parts)  # card
    if card_first:
        cps.init_app(app)
    db.init_app(app)
    Session(app)
    CSRFProtect(app)
    Talisman(app, force_https=False, frame_options="SAMEORIGIN")
    manager = LoginManager(app)
    manager.login_view = "accounts.password"
    manager.user_loader(load_user)
    app.before_request(lambda: request.form.get("_method") and None)  # a method override
    app.register_blueprint(accounts)
    app.register_blueprint(ward)
    if not card_first:
        cps.init_app(app)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]  # Flask's own way
    app.extensions["clinic"] = cps
    with app.app_context():
        db.create_all()
        for name in ("lavergne", "petit"):
            db.session.add(User(name=name, password_hash=generate_password_hash(name * 2)))
        db.session.commit()
    return app
