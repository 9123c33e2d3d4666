import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { promisify } from 'node:util';
import {
  type CachedFolder,
  cachePath,
  durationText,
  fillOnce,
  isCached,
  type ToolOptions,
} from './tool-cache.ts';

/** The versions of the released programs. */
export interface Release {
  /** `v1.37.2` */
  readonly kubernetes: string;
  /** `v3.7.0` */
  readonly etcd: string;
}

/** The URLs of the releases. A mirror has the same paths. An empty value disables the download. */
const SERVERS = {
  KUBERNETES_RELEASE_URL: 'https://dl.k8s.io/release',
  ETCD_RELEASE_URL: 'https://github.com/etcd-io/etcd/releases/download',
} as const;

/** The file names of the programs in the folder of `ensureRelease`. */
const PROGRAMS = ['kube-apiserver', 'kube-controller-manager', 'kubectl'] as const;
const FILES = ['etcd', ...PROGRAMS] as const;

/** The platforms of the published API server and controller manager. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The timeouts for a server. */
export interface Patience {
  readonly answerWithinMs: number;
  readonly silenceMs: number;
}

const PATIENCE: Patience = { answerWithinMs: 5_000, silenceMs: 30_000 };

/**
 * Downloads the programs once into the user's cache folder, and resolves to the folder. A file gets its name only after its
 * checksum matches the published one. If the download is disabled or fails, reports one line, leaves nothing in the cache,
 * and resolves to undefined.
 */
export async function ensureRelease(
  release: Release,
  options: ToolOptions,
  patience: Patience = PATIENCE,
): Promise<string | undefined> {
  const { env, report } = options;
  const arch = ARCHITECTURES[process.arch];
  const kubernetesUrl = env['KUBERNETES_RELEASE_URL'] ?? SERVERS.KUBERNETES_RELEASE_URL;
  const etcdUrl = env['ETCD_RELEASE_URL'] ?? SERVERS.ETCD_RELEASE_URL;
  if (process.platform !== 'linux' || arch === undefined) return undefined;
  const folder = releaseFolder(release, env, arch);
  if (await isCached(folder)) return folder.dir;
  if (kubernetesUrl === '' || etcdUrl === '') return undefined;
  const startedMs = performance.now();
  try {
    await fillOnce(folder, options, async (temporary) => {
      report(`downloading etcd ${release.etcd} and Kubernetes ${release.kubernetes}`);
      const programsUrl = `${kubernetesUrl}/${release.kubernetes}/bin/linux/${arch}`;
      // Sequentially, so that only the first request waits for an unreachable server.
      for (const name of PROGRAMS)
        await downloadProgram(`${programsUrl}/${name}`, join(temporary, name), patience);
      await downloadEtcd(
        `${etcdUrl}/${release.etcd}`,
        `etcd-${release.etcd}-linux-${arch}`,
        temporary,
        patience,
      );
    });
    report(`downloaded in ${durationText(performance.now() - startedMs)}: ${folder.dir}`);
    return folder.dir;
  } catch (error) {
    report(`the control plane cannot be downloaded (${reasonOf(error)})`);
    return undefined;
  }
}

function releaseFolder({ kubernetes, etcd }: Release, env: ToolOptions['env'], arch: string): CachedFolder {
  return {
    dir: cachePath(env, 'release', `kubernetes-${kubernetes}-etcd-${etcd}-${arch}`),
    files: FILES,
    what: 'the control plane',
  };
}

async function downloadProgram(url: string, path: string, patience: Patience): Promise<void> {
  const [expected = ''] = (await textOf(`${url}.sha256`, patience)).trim().split(/\s+/);
  await downloadVerified(url, path, expected, patience);
}

async function downloadEtcd(url: string, name: string, folder: string, patience: Patience): Promise<void> {
  const archive = `${name}.tar.gz`;
  const line = (await textOf(`${url}/SHA256SUMS`, patience))
    .split('\n')
    .find((text) => text.trim().split(/\s+/)[1] === archive);
  if (line === undefined) throw new Error(`${url}/SHA256SUMS does not contain ${archive}`);
  const [expected = ''] = line.split(/\s+/);
  const path = join(folder, archive);
  await downloadVerified(`${url}/${archive}`, path, expected, patience);
  await promisify(execFile)('tar', ['-xzf', path, '-C', folder, '--strip-components=1', `${name}/etcd`]);
  await rm(path);
}

async function downloadVerified(
  url: string,
  path: string,
  expected: string,
  patience: Patience,
): Promise<void> {
  if (!/^[0-9a-f]{64}$/.test(expected)) throw new Error(`${url}: the published checksum is not a SHA-256`);
  const hash = createHash('sha256');
  const { body, signal, heard } = await open(url, patience);
  await pipeline(
    Readable.fromWeb(body),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        heard();
        hash.update(chunk);
        yield chunk;
      }
    },
    createWriteStream(path),
    { signal },
  ).finally(heard.stop);
  const actual = hash.digest('hex');
  if (actual !== expected) throw new Error(`${url}: the SHA-256 is ${actual}, published is ${expected}`);
  await chmod(path, 0o755);
}

async function textOf(url: string, patience: Patience): Promise<string> {
  const { body, signal, heard } = await open(url, patience);
  try {
    return await Readable.fromWeb(body, { signal }).reduce((text, chunk) => text + String(chunk), '');
  } finally {
    heard.stop();
  }
}

interface Opened {
  readonly body: ReadableStream;
  readonly signal: AbortSignal;
  /** Call for each chunk. Aborts the request if the server sends nothing for too long. */
  readonly heard: (() => void) & { readonly stop: () => void };
}

async function open(url: string, { answerWithinMs, silenceMs }: Patience): Promise<Opened> {
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const giveUpAfter = (ms: number) => {
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(new Error(`${url}: silent for ${ms} ms`)), ms);
  };
  const stop = () => clearTimeout(timer);
  giveUpAfter(answerWithinMs);
  try {
    const answer = await fetch(url, { signal: abort.signal });
    if (!answer.ok || answer.body === null) throw new Error(`${url}: HTTP ${answer.status}`);
    giveUpAfter(silenceMs);
    return {
      body: answer.body,
      signal: abort.signal,
      heard: Object.assign(() => giveUpAfter(silenceMs), { stop }),
    };
  } catch (error) {
    stop();
    throw error;
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // The error of fetch() is "fetch failed". Its cause names the host.
  return error.cause instanceof Error ? error.cause.message || error.message : error.message;
}
