import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureBinaries } from '../support/control-plane/binaries.ts';
import { ensureRelease } from '../support/control-plane/release-download.ts';
import { ToolMissingError } from '../support/control-plane/tool-cache.ts';
import { requireTool } from '../support/external-tool.ts';

const RELEASE = { kubernetes: 'v1.2.3', etcd: 'v4.5.6' };
const ARCH = process.arch === 'arm64' ? 'arm64' : 'amd64';
const PROGRAMS = ['kube-apiserver', 'kube-controller-manager', 'kubectl'];
/** Larger than a socket buffer, so that it arrives in several chunks. */
const SIZE = 1024 * 1024;

const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex');

let scratch: string;
let server: Server;
let requests: string[];
/** The files on the server, by path. */
let published: Map<string, Buffer | RequestListener>;
let lines: string[];
let env: Record<string, string>;

const report = (line: string) => lines.push(line);
const ensure = (patience = { answerWithinMs: 10_000, silenceMs: 10_000 }) =>
  ensureRelease(RELEASE, { env, report }, patience);
const left = () => globSync('**', { cwd: join(scratch, 'cache') }).filter((path) => /release\/./.test(path));
const kubernetesPath = (file: string) => `/kubernetes/v1.2.3/bin/linux/${ARCH}/${file}`;
const ETCD = `etcd-v4.5.6-linux-${ARCH}`;
const ETCD_PATH = `/etcd/v4.5.6/${ETCD}.tar.gz`;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'release-test-'));
  requests = [];
  lines = [];
  published = new Map();
  for (const name of PROGRAMS) {
    const content = Buffer.alloc(SIZE, name);
    published.set(kubernetesPath(name), content);
    published.set(kubernetesPath(`${name}.sha256`), Buffer.from(sha256(content)));
  }
  await mkdir(join(scratch, ETCD));
  await writeFile(join(scratch, ETCD, 'etcd'), 'etcd', { mode: 0o755 });
  await writeFile(join(scratch, ETCD, 'README.md'), 'not needed');
  const archive = execFileSync('tar', ['-czf', '-', '-C', scratch, ETCD]);
  published.set(ETCD_PATH, archive);
  published.set(
    '/etcd/v4.5.6/SHA256SUMS',
    Buffer.from(`${'0'.repeat(64)}  other.zip\n${sha256(archive)}  ${ETCD}.tar.gz\n`),
  );
  server = createServer((request, response) => {
    const path = request.url ?? '';
    requests.push(path);
    const found = published.get(path);
    if (found === undefined) response.writeHead(404).end('not found');
    else if (typeof found === 'function') found(request, response);
    else response.end(found);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  env = {
    PATH: '/usr/bin:/bin',
    XDG_CACHE_HOME: join(scratch, 'cache'),
    KUBERNETES_RELEASE_URL: `${url}/kubernetes`,
    ETCD_RELEASE_URL: `${url}/etcd`,
  };
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await rm(scratch, { recursive: true, force: true });
});

describe.runIf(process.platform === 'linux')('download of released binaries', () => {
  it('puts verified executables into the cache once', async () => {
    const dir = (await ensure()) ?? '';
    for (const name of PROGRAMS) {
      expect(await readFile(join(dir, name))).toEqual(published.get(kubernetesPath(name)));
      expect((await stat(join(dir, name))).mode & 0o777).toBe(0o755);
    }
    expect(await readFile(join(dir, 'etcd'), 'utf8')).toBe('etcd');
    expect(left()).toHaveLength(5);
    expect(requests).toHaveLength(8);
    expect(await ensure()).toBe(dir);
    expect(requests).toHaveLength(8);
    expect(lines).toEqual([
      'downloading etcd v4.5.6 and Kubernetes v1.2.3',
      expect.stringMatching(/^downloaded in \d+ s: /),
    ]);
  });

  it('happens once for concurrent callers', async () => {
    const [first, ...others] = await Promise.all([ensure(), ensure(), ensure()]);
    expect(first).toBeDefined();
    expect(others).toEqual([first, first]);
    expect(requests).toHaveLength(8);
  });

  const breaks: readonly [
    what: string,
    path: string,
    content: Buffer | RequestListener | undefined,
    message: RegExp,
  ][] = [
    [
      'a program with other content',
      kubernetesPath('kubectl'),
      Buffer.alloc(SIZE, 'x'),
      /kubectl: the SHA-256 is [0-9a-f]{64}, published is [0-9a-f]{64}/,
    ],
    [
      'an archive with other content',
      ETCD_PATH,
      Buffer.from('x'),
      /etcd-v4.*: the SHA-256 is .* published is/,
    ],
    ['a checksum that is none', kubernetesPath('kubectl.sha256'), Buffer.from('<html>'), /is not a SHA-256/],
    [
      'sums without the archive',
      '/etcd/v4.5.6/SHA256SUMS',
      Buffer.from(''),
      /SHA256SUMS does not contain etcd-v4/,
    ],
    ['a program that is missing', kubernetesPath('kube-apiserver'), undefined, /kube-apiserver: HTTP 404/],
    ['a checksum that is missing', kubernetesPath('kubectl.sha256'), undefined, /kubectl.sha256: HTTP 404/],
    [
      'a program that is cut short',
      kubernetesPath('kubectl'),
      (_, response) => response.end(Buffer.alloc(SIZE, 'kubectl').subarray(0, SIZE / 2)),
      /kubectl: the SHA-256 is/,
    ],
    [
      'a connection that breaks in the middle',
      kubernetesPath('kubectl'),
      (_, response) => {
        response.writeHead(200, { 'content-length': SIZE });
        response.write(Buffer.alloc(SIZE / 2), () => response.destroy());
      },
      /\(.+\)/,
    ],
    [
      'a server that falls silent in the middle',
      kubernetesPath('kubectl'),
      (_, response) => {
        response.writeHead(200, { 'content-length': SIZE });
        response.write(Buffer.alloc(SIZE / 2));
      },
      /silent for 1000 ms/,
    ],
    [
      'a server that never answers',
      kubernetesPath('kube-apiserver.sha256'),
      () => undefined,
      /silent for 1000 ms/,
    ],
  ];
  it.each(breaks)('leaves nothing in the cache after %s', async (_, path, content, message) => {
    if (content === undefined) published.delete(path);
    else published.set(path, content);
    // A short timeout only for the server that never answers, because a busy machine is slow.
    const silent = message.source.includes('silent');
    expect(await ensure(silent ? { answerWithinMs: 1000, silenceMs: 1000 } : undefined)).toBeUndefined();
    expect(left()).toEqual([]);
    expect(lines.at(-1)).toMatch(/^the control plane cannot be downloaded \(.*\)$/);
    expect(lines.at(-1)).toMatch(message);
  });

  it('stops after one request if the server cannot be reached', async () => {
    const closed = createTcpServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => closed.once('listening', resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    env['KUBERNETES_RELEASE_URL'] = `http://127.0.0.1:${port}`;
    expect(await ensure()).toBeUndefined();
    expect(lines.at(-1)).toContain('ECONNREFUSED');
    expect(requests).toEqual([]);
    expect(left()).toEqual([]);
  });

  it('is skipped if a URL is empty', async () => {
    env['ETCD_RELEASE_URL'] = '';
    expect(await ensure()).toBeUndefined();
    expect([lines, requests]).toEqual([[], []]);
  });

  it('is tried first, with the versions in go.mod, and falls back to a build', async () => {
    const failure = await ensureBinaries({ env: { ...env, PATH: scratch }, report }).catch((error) => error);
    // Go is not available either.
    expect(failure).toBeInstanceOf(ToolMissingError);
    const goMod = await readFile(new URL('../control-plane/go.mod', import.meta.url), 'utf8');
    const [, version] = /k8s\.io\/kubernetes (v\S+)/.exec(goMod) ?? [];
    expect(requests).toEqual([`/kubernetes/${version}/bin/linux/${ARCH}/kube-apiserver.sha256`]);
    expect(lines.at(-1)).toContain('HTTP 404');
  });
});

describe('requireTool', () => {
  const missing = async () => {
    throw new ToolMissingError('helm needs Go');
  };
  const skipped: string[] = [];
  const skip = (reason: string) => void skipped.push(reason);

  it('skips with the reason if the tool is missing, and fails with CI=true', async () => {
    await requireTool(skip, missing, {});
    expect(skipped).toEqual(['helm needs Go']);
    await expect(requireTool(skip, missing, { CI: 'true' })).rejects.toThrow('helm needs Go');
    expect(skipped).toHaveLength(1);
  });

  it('rethrows other errors', async () => {
    const broken = async () => {
      throw new Error('does not compile');
    };
    await expect(requireTool(skip, broken, {})).rejects.toThrow('does not compile');
  });

  it('does nothing if the tool exists', async () => {
    await requireTool(skip, async () => 'helm', { CI: 'true' });
    expect(skipped).toHaveLength(1);
  });
});
