"""Timer triggers: by NCRONTAB, by time span, by the name of a setting, and one that only a person starts."""

import logging

import azure.functions as func

app = func.FunctionApp()


@app.timer_trigger(schedule="* * * * * *", arg_name="timer")
def every_second(timer: func.TimerRequest) -> None:
    logging.info("cron fired, next %s", timer.schedule_status["Next"])


@app.timer_trigger(schedule="00:00:01", arg_name="timer")
async def every_interval(timer: func.TimerRequest) -> None:
    logging.info("interval fired, past due %s", timer.past_due)


@app.timer_trigger(schedule="%NIGHTLY%", arg_name="timer", run_on_startup=True)
def on_startup(timer: func.TimerRequest) -> None:
    logging.info("startup fired")


@app.timer_trigger(schedule="0 0 3 * * 1-5", arg_name="timer")
def by_hand(timer: func.TimerRequest) -> None:
    logging.info("fired by hand")
    raise LookupError("the timer failed")
