"""A worker: a process that imports torch once, and runs each job in a fork of its own.

So every run starts from the same state, wherever and after whatever it runs, without the seconds
that importing takes. `Worker` is the side of the caller; the process is
``python -m pvae.studies.worker``, which reads a job a line and answers with a result a line.
"""

import atexit
import base64
import contextlib
import importlib
import json
import os
import select
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import torch

from pvae import openmp
from pvae.messages import one_line
from pvae.studies.jobs import Job, run_job, token_of

WATCH = 1.0  # seconds between looks at whether the worker still runs
# What a run imports only when it needs it: seconds, which each fork would spend again.
PRELOADED = ("torch._dynamo", "sklearn.pipeline", "pvae.objectives", "pvae.posteriors")


class WorkerDied(RuntimeError):
    """A job has no result, since its process was killed or its machine has an error."""


class Worker:
    """A worker process, started when the first job is sent.

    Args:
        environment: variables that it gets besides those of this process, such as
            ``CUDA_VISIBLE_DEVICES``.
    """

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self.environment = environment or {}
        self.process: subprocess.Popen[str] | None = None

    def run(self, job: Job) -> dict[str, Any]:
        """Run a job and return its result, as `run_job` does.

        Raises:
            WorkerDied: if the process ended without a result.
        """
        process = self.process  # another thread may close it at any moment
        if process is None or process.poll() is not None:
            self.close()
            process = self.process = subprocess.Popen(
                [sys.executable, "-m", "pvae.studies.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C in the terminal reaches the study alone
                # Modules come from where this process finds them, and from nowhere else.
                env=os.environ
                | self.environment
                | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"},
            )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            place = json.dumps([os.getcwd(), sys.path])  # may have changed since the process began
            process.stdin.write(f"{place}\t{job.as_json()}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except (BrokenPipeError, ValueError):  # ValueError: the stream is closed
            answer = ""
        if not answer:
            self.close()
            raise WorkerDied("The worker process was killed.")
        result = json.loads(answer)
        if result["status"] == "died":
            raise WorkerDied(result["sentence"])
        return _decoded(result)

    def close(self) -> None:
        """End the process, and the job that it runs."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.wait()


def _decoded(result: dict[str, Any]) -> dict[str, Any]:
    packed = result.get("files")
    if packed is not None:
        result["files"] = {n: (base64.b64decode(data), sha) for n, (data, sha) in packed.items()}
    return result


def _encoded(result: dict[str, Any]) -> str:
    packed = result.get("files")
    if packed is not None:
        files = {n: (base64.b64encode(data).decode(), sha) for n, (data, sha) in packed.items()}
        result = result | {"files": files}
    return json.dumps(result)


def serve(jobs: IO[str], answers: IO[str]) -> None:
    """Run each job in a fork, and answer with its result, until the caller is gone."""
    for line in jobs:
        place, _, described = line.partition("\t")
        job = Job.from_json(described)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            folder, path = json.loads(place)
            _work(job, folder, path, writer)
        os.close(writer)
        with open(reader, encoding="utf-8") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
        if not answer:
            code = os.waitstatus_to_exitcode(status)
            ended = f"by signal {-code}" if code < 0 else f"by itself, with status {code}"
            answer = _died(f"Its process ended {ended}.")
        answers.write(answer + "\n")
        answers.flush()


def _died(sentence: str) -> str:
    return json.dumps({"status": "died", "sentence": sentence})


def _work(job: Job, folder: str, path: list[str], writer: int) -> None:
    """Run a job in this fork, write its result to a pipe, and end the process.

    Files and modules are looked for where the caller looks for them.
    """
    try:
        with open(writer, "w", encoding="utf-8") as pipe:
            try:
                end_with_caller(job)
                os.chdir(folder)
                sys.path[:] = path
                log = _log(Path(job.study) / job.place)
                os.dup2(log, 1)
                os.dup2(log, 2)
                answer = _encoded(run_job(job))
            except Exception as error:  # of this machine, such as a full disk
                answer = _died(one_line(error))
            pipe.write(answer)
    finally:  # a fork must never return to the loop of its parent
        os._exit(0)


def _log(run: Path) -> int:
    """Open the file that what a run prints is appended to, if it can be written."""
    path = run.with_suffix(".log")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A study folder may come from elsewhere: links in it are not followed.
        log = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        if stat.S_ISREG(os.fstat(log).st_mode):
            return log
        os.close(log)
    except OSError:
        pass
    return os.open(os.devnull, os.O_WRONLY)


def end_with_caller(job: Job) -> None:
    """End this fork soon after nobody waits for its job.

    That is when the worker process has ended, or the process that sends it jobs, whose end of
    standard input is then closed; or when the study, on another machine, has ended by an error and
    so has a new token.
    """
    server, seen = os.getppid(), token_of(job) == job.token
    hung_up = select.poll()
    hung_up.register(0, 0)

    def watch() -> None:
        while os.getppid() == server and not hung_up.poll(1000 * WATCH):
            if seen and token_of(job) not in (None, job.token):
                break
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Workers:
    """The worker processes of this process, kept between jobs and studies.

    There are as many as ran at a time. They end with this process.
    """

    def __init__(self) -> None:
        self.all: list[Worker] = []
        self.idle: list[Worker] = []
        self.guard = threading.Lock()

    def run(self, job: Job) -> dict[str, Any]:
        """Run a job on an idle worker, or a new one.

        Raises:
            WorkerDied: as `Worker.run`.
        """
        with self.guard:
            if not self.idle:
                self.idle.append(Worker(_environment(len(self.all))))
                self.all.append(self.idle[-1])
            worker = self.idle.pop()
        try:
            return worker.run(job)
        finally:
            with self.guard:
                self.idle.append(worker)

    def close(self) -> None:
        """End all processes, and the jobs that they run; a further job starts its own again."""
        with self.guard:
            workers = [*self.all]
        for worker in workers:
            worker.close()


def _environment(number: int) -> dict[str, str]:
    """Variables of a worker: no threads before the fork, and one GPU if there are several."""
    found = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    found |= openmp.environment()  # for runs with several threads
    gpus = torch.cuda.device_count()
    if gpus > 1 and "CUDA_VISIBLE_DEVICES" not in os.environ:
        found["CUDA_VISIBLE_DEVICES"] = str(number % gpus)
    return found


WORKERS = Workers()
atexit.register(WORKERS.close)


def run_on_worker(job: Job) -> dict[str, Any]:
    """Run a job in a worker process of this process: what a study submits to its executor.

    Raises:
        WorkerDied: if the process that ran it was killed.
    """
    return WORKERS.run(job)


def main() -> None:
    """Serve the jobs on standard input."""
    for name in PRELOADED:
        importlib.import_module(name)
    # Answers have a stream of their own: what libraries print goes to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the study decides what Ctrl-C ends
    with contextlib.suppress(BrokenPipeError):  # the caller is gone
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
