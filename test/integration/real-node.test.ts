import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { requireTool } from '../support/external-tool.ts';
import { cgroupOf, FOLDER_PREFIX, hierarchies, RUNNER_FILE } from '../support/real-node/clean-up.ts';
import { requireRealNode } from '../support/real-node/prerequisites.ts';

const NAMESPACES = new URL('../support/real-node/namespaces.ts', import.meta.url).href;

/** Everything that a node does to its machine: an orphaned process, a mount, nftables, an interface, a cgroup, a sysctl. */
const LIKE_A_NODE = `
set -e
cgroup=$CGROUPS/$(basename $REAL_NODE_FOLDER)
mkdir -p $cgroup/kubepods/pod
setsid sleep 98765 &
echo $! > $cgroup/kubepods/pod/cgroup.procs
mkdir -p $REAL_NODE_FOLDER/mounted
mount -t tmpfs tmpfs $REAL_NODE_FOLDER/mounted
nft add table ip kube-proxy
ip link add left type bridge
echo 5 > /proc/sys/vm/overcommit_memory
echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
echo "in $REAL_NODE_FOLDER"
`;

/** A controller whose groups need no settings before processes join. */
const CGROUPS = hierarchies().find((path) => !path.endsWith('cpuset')) ?? '';

/** What is on the machine, by the kernel. */
async function machine() {
  const run = async (...words: [string, ...string[]]) =>
    (await promisify(execFile)(words[0], words.slice(1))).stdout;
  const links = JSON.parse(await run('ip', '-json', 'link')) as readonly { readonly ifname: string }[];
  return {
    links: links.map(({ ifname }) => ifname),
    mounts: readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter((line) => line.includes(FOLDER_PREFIX)),
    tables: (await run('/usr/sbin/nft', 'list', 'tables')).trim(),
    overcommit: readFileSync('/proc/sys/vm/overcommit_memory', 'utf8'),
    routeLocalnet: readFileSync('/proc/sys/net/ipv4/conf/all/route_localnet', 'utf8'),
  };
}

/** Command lines of all processes that work for this folder. */
function processesOf(folder: string): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    })
    .filter((line) => line.includes(folder) || line.includes('sleep 98765'));
}

interface Runner {
  readonly process: ChildProcess;
  readonly ended: Promise<number | null>;
  /** Resolves once the command has done everything. */
  folder(): Promise<string>;
}

function startRunner(script: string): Runner {
  const source = `
    import { runInNamespaces } from ${JSON.stringify(NAMESPACES)};
    process.exitCode = await runInNamespaces(['sh', '-c', process.argv[1]], process.env);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source, script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, CGROUPS },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
  });
  return {
    process: child,
    ended: new Promise((resolve) => child.once('exit', resolve)),
    folder: () =>
      eventually(() => {
        const [, folder] = /^in (.*)$/m.exec(output) ?? [];
        if (folder === undefined) throw new Error(`the command has not come to its end: ${output}`);
        return folder;
      }),
  };
}

async function expectNothingOf(folder: string): Promise<void> {
  await eventually(() => {
    expect(processesOf(folder)).toEqual([]);
    expect(existsSync(folder)).toBe(false);
    const groups = hierarchies().map((path) => join(path, cgroupOf(folder)));
    expect(groups.filter((path) => existsSync(path))).toEqual([]);
  });
}

describe('the namespaces of a real node', () => {
  beforeEach(async ({ skip }) => {
    await requireTool(skip, requireRealNode);
  });

  it('leave nothing on the machine when their command ends, and pass its exit code on', async () => {
    const before = await machine();
    const runner = startRunner(`${LIKE_A_NODE}\nexit 7`);
    const folder = await runner.folder();
    expect(await runner.ended).toBe(7);
    await expectNothingOf(folder);
    expect(await machine()).toEqual(before);
  });

  it('leave nothing on the machine when the runner is killed', async () => {
    const before = await machine();
    const runner = startRunner(`${LIKE_A_NODE}\nsleep 98765`);
    const folder = await runner.folder();
    expect(processesOf(folder).length).toBeGreaterThan(2);
    runner.process.kill('SIGKILL');
    await expectNothingOf(folder);
    expect(await machine()).toEqual(before);
  });

  it.each([100, 150, 200, 250, 300, 400])(
    'leave nothing when the runner is killed after %i ms',
    async (ms) => {
      const runner = startRunner('sleep 98765');
      await delay(ms);
      runner.process.kill('SIGKILL');
      await runner.ended;
      await eventually(() => {
        const folders = readdirSync(tmpdir()).filter((name) => name.startsWith(FOLDER_PREFIX));
        expect(folders.filter((name) => runnerOf(name) === String(runner.process.pid))).toEqual([]);
        expect(processesOf('sleep 98765')).toEqual([]);
      });
    },
  );

  it('are removed by the next run when the reaper was killed with the runner', async () => {
    const before = await machine();
    const runner = startRunner(`${LIKE_A_NODE}\nsleep 98765`);
    const folder = await runner.folder();
    const reaper = readdirSync('/proc').find((pid) => {
      if (!/^\d+$/.test(pid)) return false;
      const line = processCommand(pid);
      return line.includes('reaper.ts') && line.includes(folder);
    });
    process.kill(Number(reaper), 'SIGKILL');
    runner.process.kill('SIGKILL');
    await runner.ended;
    expect(existsSync(folder)).toBe(true);
    const next = startRunner('true');
    expect(await next.ended).toBe(0);
    await expectNothingOf(folder);
    expect(await machine()).toEqual(before);
  });

  it('have loopback and the bridge of the Pods, and no way out', async () => {
    const runner = startRunner(
      'ip -brief link | cut -d" " -f1 | tr "\\n" " " > $REAL_NODE_FOLDER/links; ip route get 192.0.2.1 && exit 9; ' +
        'echo "in $(cat $REAL_NODE_FOLDER/links)"',
    );
    expect(await runner.folder()).toMatch(/^lo .*pods/);
    expect(await runner.ended).toBe(0);
    expect(readdirSync(tmpdir()).filter((name) => name === 'links')).toEqual([]);
  });
});

function runnerOf(folder: string): string {
  try {
    return readFileSync(join(tmpdir(), folder, RUNNER_FILE), 'utf8');
  } catch {
    return '';
  }
}

function processCommand(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
