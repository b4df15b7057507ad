//! File systems of a test's own, and the ways in which the kernel lets them fail. They are mounted, which needs root:
//! without it, and on kernels without loop devices or ext4, the tests that need them say so and pass, unless
//! `OTTLA_TEST_DISKS=required` is set, as CI does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// Set to `required` where the tests must run.
const DISKS: &str = "OTTLA_TEST_DISKS";
/// `EXT4_IOC_SHUTDOWN`: every later operation fails with EIO, and what was not synced is lost.
const SHUT_DOWN: &str = "import fcntl,os,struct,sys; \
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// A mounted file system, gone when this is dropped.
pub struct Disk {
    folder: TempDir,
    /// Below the mount: where the image of a loop device lies, if it does on a file system of its own.
    below: Option<Box<Disk>>,
    image: Option<PathBuf>,
}

impl Disk {
    /// A tmpfs of so many bytes.
    pub fn tmpfs(bytes: u64) -> Result<Disk> {
        let disk = Disk { folder: tempfile::tempdir()?, below: None, image: None };
        run("mount", &["-t", "tmpfs", "-o", &format!("size={bytes}"), "ottla-test", disk.text()])?;
        Ok(disk)
    }

    /// An ext4 that turns read-only when it finds an error in itself.
    pub fn ext4(mebibytes: u64) -> Result<Disk> {
        let folder = tempfile::tempdir()?;
        let image = folder.path().join("image");
        Disk::on_image(folder, image, mebibytes, None)
    }

    /// An ext4 on a device with far less room than it says: what fits into the page cache is written without complaint,
    /// and the sync fails.
    pub fn thin(says_mebibytes: u64, bytes: u64) -> Result<Disk> {
        let below = Disk::tmpfs(bytes)?;
        let image = below.path().join("image");
        Disk::on_image(tempfile::tempdir()?, image, says_mebibytes, Some(Box::new(below)))
    }

    fn on_image(folder: TempDir, image: PathBuf, mebibytes: u64, below: Option<Box<Disk>>) -> Result<Disk> {
        std::fs::File::create(&image)?.set_len(mebibytes << 20)?;
        let path = image.to_str().context("a folder's name is text")?;
        run("mkfs.ext4", &["-q", "-F", "-O", "^has_journal", path])?;
        let mount = folder.path().join("mount");
        std::fs::create_dir(&mount)?;
        let disk = Disk { folder, below, image: Some(image) };
        disk.mount()?;
        Ok(disk)
    }

    /// The root of the file system.
    pub fn path(&self) -> PathBuf {
        match self.image {
            Some(_) => self.folder.path().join("mount"),
            None => self.folder.path().to_owned(),
        }
    }

    fn text(&self) -> &str {
        self.folder.path().to_str().unwrap_or_default()
    }

    fn mount(&self) -> Result<()> {
        let image = self.image.as_ref().context("only an image is mounted again")?;
        let (image, path) = (image.display().to_string(), self.path().display().to_string());
        run("mount", &["-o", "loop,errors=remount-ro", &image, &path])
    }

    /// Gives a tmpfs another size.
    pub fn resize(&self, bytes: u64) -> Result<()> {
        run("mount", &["-o", &format!("remount,size={bytes}"), self.text()])
    }

    /// Gives the device of a thin disk the room that it promised.
    pub fn below_resized(&self, bytes: u64) -> Result<()> {
        self.below.as_ref().context("only a thin disk lies on another")?.resize(bytes)
    }

    /// Every operation fails with EIO from now on, as when the device is pulled.
    pub fn break_device(&self) -> Result<()> {
        run("python3", &["-c", SHUT_DOWN, &self.path().display().to_string()])
    }

    /// The kernel turns the file system read-only, as it does when it finds it damaged.
    pub fn turn_read_only(&self) -> Result<()> {
        let path = self.path().display().to_string();
        let source = output("findmnt", &["-no", "SOURCE", &path])?;
        let device = Path::new(source.trim()).file_name().context("a device has a name")?;
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        std::fs::write(trigger, "test")?;
        Ok(())
    }

    /// Takes it off while nobody uses it, and mounts it again without the fault.
    pub fn mend(&self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    /// As an operator does: nobody has a file of it open for writing.
    pub fn remount(&self, how: &str) -> Result<()> {
        run("mount", &["-o", &format!("remount,{how}"), &self.path().display().to_string()])
    }

    fn unmount(&self) -> Result<()> {
        run("umount", &[&self.path().display().to_string()])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.unmount().is_err() {
            // Whoever still uses it keeps it until he ends.
            let _ = run("umount", &["-l", &self.path().display().to_string()]);
        }
        drop(self.below.take());
    }
}

/// Whether this machine lets a test mount file systems; says so where it does not.
///
/// # Errors
/// If it does not and must.
pub fn can_mount() -> Result<bool> {
    let tried = Disk::ext4(8).and_then(|disk| disk.mend());
    match tried {
        Ok(()) => Ok(true),
        Err(error) if std::env::var_os(DISKS).is_some_and(|value| value == "required") => {
            Err(error.context("file systems cannot be mounted, and OTTLA_TEST_DISKS=required"))
        }
        Err(error) => {
            eprintln!("SKIPPED: file systems cannot be mounted here, which takes root: {error:#}");
            Ok(false)
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    output(program, arguments).map(drop)
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let done = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    if !done.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    }
    ensure!(done.status.success());
    Ok(String::from_utf8(done.stdout)?)
}
