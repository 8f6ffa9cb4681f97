"""An ext4 of a benchmark's own, in a file, on a loop device. Needs root."""

import os
import subprocess
import time

from counters import device_number


class LoopDisk:
    """Mounted at `path` until the run ends."""

    def __init__(self, run, image_directory, size, options=""):
        self.path = run.path("mount")
        self.options = "loop" + ("," + options if options else "")
        self.image = os.path.join(image_directory, f"firn-bench-disk-{os.getpid()}.img")
        run.at_exit(self.remove)
        with open(self.image, "wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-t", "ext4", "-o", self.options, self.image, self.path],
                       check=True)

    def unmount(self):
        # The kernel closes the files of a dead process' ring when it comes to it.
        for _ in range(200):
            if subprocess.run(["umount", self.path], stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.05)
        subprocess.run(["umount", self.path], check=True)

    def remount(self):
        self.unmount()
        self.mount()

    def remove(self):
        if os.path.ismount(self.path):
            self.unmount()
        if os.path.exists(self.image):
            os.unlink(self.image)

    def journal_thread(self):
        """Its process id: the journal's writes are done by a thread of the kernel."""
        device = os.path.basename(os.path.realpath(f"/sys/dev/block/{device_number(self.path)}"))
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm") as file:
                    if file.read().startswith(f"jbd2/{device}-"):
                        return int(pid)
            except OSError:
                pass  # it has ended
        raise RuntimeError(f"no journal of {device}")
