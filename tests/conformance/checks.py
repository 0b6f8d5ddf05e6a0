"""What the SDK scripts share: counting checks, and waiting."""
import sys
import time

passed = failed = 0


def check(name, ok, seen=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f"  FAILED {name}: {seen!r}")


def raises(name, kind, text, call):
    try:
        call()
    except kind as error:
        check(name, text in str(error), str(error))
    except Exception as error:  # another kind of error is the failure to report
        check(name, False, error)
    else:
        check(name, False, "no error")


def until(what, look, done):
    """Looks until done(seen); what names the thing in the failure."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        seen = look()
        if done(seen):
            return seen
        time.sleep(0.02)
    raise SystemExit(f"{what} did not end: {seen!r}")


def finish(title):
    print(f"{title}: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
