# shellcheck shell=bash
# Cgroups: all processes of a cluster are below one of their own, and see that one as the root of all.
#
# Version 1 has a hierarchy for each controller. The kernel keeps one while there are cgroups in it, mounted or not, and
# a machine need not have mounted all.

CONTROLLERS=(cpu cpuacct cpuset memory pids devices freezer blkio)

is_version_2() { [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; }

# In a mount namespace of one's own: every hierarchy that there is, in place of what the machine has mounted.
mount_cgroups() {
    local controller
    if is_version_2; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        return
    fi
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    for controller in "${CONTROLLERS[@]}"; do
        mkdir "/sys/fs/cgroup/$controller"
        # Where version 2 has the controller, version 1 cannot, and where two are mounted together, they are one.
        mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" || mount_joined "$controller" ||
            rmdir "/sys/fs/cgroup/$controller"
    done
    mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd || rmdir /sys/fs/cgroup/systemd
}

# A controller that shares its hierarchy, such as cpu,cpuacct.
mount_joined() {
    local joined
    joined=$(sed -nE "s/^[0-9]+:(([^:]*,)?$1(,[^:]*)?):.*/\1/p" /proc/self/cgroup)
    [ "$joined" != "$1" ] && [ -n "$joined" ] && mount -t cgroup -o "$joined" cgroup "/sys/fs/cgroup/$1"
}

# enter_cgroup NAME: moves this process into a cgroup of that name, in every hierarchy.
enter_cgroup() {
    local hierarchy file
    for hierarchy in $(hierarchies); do
        mkdir -p "$hierarchy/$1"
        # A new cpuset has neither processors nor memory.
        for file in cpuset.cpus cpuset.mems; do
            if [ -e "$hierarchy/$1/$file" ] && ! is_version_2; then cat "$hierarchy/$file" >"$hierarchy/$1/$file"; fi
        done
        echo $$ >"$hierarchy/$1/cgroup.procs"
    done
}

hierarchies() {
    if is_version_2; then echo /sys/fs/cgroup; else echo /sys/fs/cgroup/*; fi
}

# Version 2 has processes only where there is no controller for cgroups below. For the root that the cluster sees, which is
# not the machine's, this holds as well.
delegate_controllers() {
    if ! is_version_2; then return; fi
    enter_cgroup programs
    sed 's/\(^\| \)/\1+/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
}

# remove_cgroup NAME: in every hierarchy, with those below it. Fails while a process is in one.
remove_cgroup() {
    local found
    mount_cgroups
    found=$(find /sys/fs/cgroup -depth -type d -path "/sys/fs/cgroup*/$1*")
    if [ -n "$found" ]; then printf '%s\n' "$found" | xargs rmdir; fi
}
