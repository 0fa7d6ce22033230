"""What the usage route does, apart from speaking HTTP."""

from datetime import UTC, date, datetime

from perdure.api.problems import Forbidden
from perdure.api.schemas.usage import UsageQuery, UsageReport, report
from perdure.bootstrap import Services
from perdure.domain.principal import Principal

USUAL_DAYS, MOST_DAYS = 30, 400
"""Days that are shown when the request does not say, and at most, the last ones: nothing is kept for longer."""


async def usage_report(app: Services, who: Principal, query: UsageQuery) -> UsageReport:
    """Sum up the caller's use of models, or for administrators the tenant's.

    Raises:
        Forbidden: Somebody else's is asked for by no administrator.
    """
    last = query.last or datetime.now(UTC).date()
    first = query.first or _before(last, USUAL_DAYS - 1)
    first = max(first, _before(last, MOST_DAYS - 1))
    if query.user not in (None, who.user) and not who.may("admin"):
        raise Forbidden("What others used is for administrators: leave `user` out to see your own.")
    user = query.user if who.may("admin") else who.user
    if user is None:
        used = app.usage.of_tenant(who.tenant, first, last)
    else:
        used = app.usage.of_user(who.tenant, user, first, last)
    return report(first, last, [one async for one in used], query.by)


def _before(day: date, days: int) -> date:
    return date.fromordinal(max(1, day.toordinal() - days))
