import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { startStandIn } from '../support/apisix-stand-in/stand-in.ts';

// The recording is not part of the repository.
const recordingFile = new URL('../../../shared/apisix/admin-api-3.18.json', import.meta.url);
const pairSchema = z.object({
  name: z.string(),
  request: z.object({
    method: z.string(),
    path: z.string(),
    headers: z.record(z.string(), z.string()),
    body: z.string().optional(),
  }),
  response: z.object({
    status: z.number(),
    contentType: z.string(),
    json: z.unknown().optional(),
    text: z.string().optional(),
  }),
});
type Pair = z.infer<typeof pairSchema>;

const ADMIN_KEY = 'lab-admin-key-0123456789abcdef';
const VIEWER_KEY = 'lab-viewer-key-0123456789abcdef';

interface Received {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly text: string;
}

test('the stand-in gives the recorded responses of APISIX 3.18', async ({ skip }) => {
  skip(!existsSync(recordingFile), 'no recording next to the repository: shared/apisix/admin-api-3.18.json');
  const pairs = z.array(pairSchema).parse(JSON.parse(readFileSync(recordingFile, 'utf8')));
  expect(pairs).toHaveLength(245);
  let clock = 1_795_472_926;
  await using standIn = await startStandIn({ adminKey: ADMIN_KEY, viewerKey: VIEWER_KEY, now: () => clock });
  /** The ids that the server generated, by the recorded ids. */
  const madeIds = new Map<string, string>();

  /** Sends the recorded path and headers exactly, unlike `fetch`. */
  function send(pair: Pair['request']): Promise<Received> {
    return new Promise((resolve, reject) => {
      const { method, headers, body } = pair;
      const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
      const outgoing = httpRequest(
        `${standIn.adminUrl}/`,
        { method, path: mapped(pair.path), headers: { ...headers, ...length } },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('error', reject);
          incoming.on('end', () =>
            resolve({
              status: incoming.statusCode ?? 0,
              contentType: incoming.headers['content-type'],
              text: Buffer.concat(chunks).toString('utf8'),
            }),
          );
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  function mapped(text: string): string {
    return [...madeIds].reduce((result, [recorded, made]) => result.replaceAll(recorded, made), text);
  }

  async function put(id: string, value: unknown): Promise<void> {
    const { status, text } = await send({
      method: 'PUT',
      path: `/apisix/admin/upstreams/${id}`,
      headers: { 'X-API-KEY': ADMIN_KEY },
      body: JSON.stringify(value),
    });
    expect(status, text).toBeLessThan(300);
  }

  async function deleteAll(): Promise<void> {
    for (const id of standIn.ids('upstreams')) {
      const { status } = await send({
        method: 'DELETE',
        path: `/apisix/admin/upstreams/${id}`,
        headers: { 'X-API-KEY': ADMIN_KEY },
      });
      expect(status).toBe(200);
    }
  }

  const nodes = { '127.0.0.1:18101': 1 };
  const listed = z.object({
    list: z.array(z.object({ value: z.looseObject({ id: z.string() }), createdIndex: z.number() })),
  });

  /**
   * Some steps are missing in the recording and follow from the next response. They are repeated here over the Admin API,
   * before the request of that name.
   */
  const leftOut: Readonly<Record<string, (pair: Pair) => Promise<void>>> = {
    '197-v-tls-get': async (pair) => {
      const recorded = z
        .object({ value: z.object({ tls: z.object({ client_cert: z.string() }) }) })
        .parse(pair.response.json);
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const client_key = privateKey.export({ type: 'pkcs8', format: 'pem' });
      const { client_cert } = recorded.value.tls;
      await put('v1', { type: 'roundrobin', nodes, scheme: 'https', tls: { client_cert, client_key } });
    },
    '254-list-empty-again': deleteAll,
    '255-list-all': async (pair) => {
      const items = listed.parse(pair.response.json).list.toSorted((a, b) => a.createdIndex - b.createdIndex);
      expect(items).toHaveLength(25);
      for (const { value } of items) {
        const { id, create_time: _created, update_time: _updated, ...conf } = value;
        await put(id, conf);
      }
    },
    '269-list-name-with-unnamed-item': () => put('noname', { type: 'roundrobin', nodes }),
    '271-list-after-all': deleteAll,
    '273-get-ttl-expired': async () => {
      clock += 3;
    },
  };

  /** The parts of a response that must equal the recording. */
  function comparable(pair: Pair, answer: Received): unknown {
    const { status, contentType, text } = answer;
    if (contentType?.startsWith('text/html')) return { status, contentType };
    if (pair.response.json === undefined) return { status, contentType, text };
    const parsed = parse(text);
    return { status, contentType, json: status === 401 ? parsed : withoutVariance(parsed) };
  }

  function recordedAnswer({ response }: Pair): Received {
    const { status, contentType, json, text = '' } = response;
    return { status, contentType, text: mapped(json === undefined ? text : JSON.stringify(json)) };
  }

  function rememberMadeId({ request, response }: Pair, { text }: Received): void {
    if (request.method !== 'POST' || response.status !== 201) return;
    const answer = z.object({ value: z.object({ id: z.string().regex(/^\d{20}$/) }) });
    madeIds.set(answer.parse(response.json).value.id, answer.parse(JSON.parse(text)).value.id);
  }

  const differences: unknown[] = [];
  const stepsToMake = new Set(Object.keys(leftOut));
  for (const pair of pairs) {
    await leftOut[pair.name]?.(pair);
    stepsToMake.delete(pair.name);
    const received = await send(pair.request);
    rememberMadeId(pair, received);
    const expected = comparable(pair, recordedAnswer(pair));
    const actual = comparable(pair, received);
    if (!isDeepStrictEqual(actual, expected)) differences.push({ name: pair.name, expected, actual });
  }
  expect([...stepsToMake]).toEqual([]);
  expect(differences).toEqual([]);
});

/** Removes values that differ between runs, and the text of irrelevant errors. */
function withoutVariance(value: unknown, name = ''): unknown {
  if (Array.isArray(value)) return value.map((each) => withoutVariance(each));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withoutVariance(each, key)]));
  }
  const isCount = typeof value === 'number' && Number.isInteger(value);
  if (isCount && ['create_time', 'update_time', 'createdIndex', 'modifiedIndex'].includes(name))
    return `<${name}>`;
  if (typeof value !== 'string' || value === '') return value;
  if (name === 'client_key' && /^[A-Za-z0-9+/]+=*$/.test(value)) return '<encrypted>';
  if (['error_msg', 'error'].includes(name) && !value.startsWith('can not delete')) return '<error>';
  return value;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return { notJson: text };
  }
}
