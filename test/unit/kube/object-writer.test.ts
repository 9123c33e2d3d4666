import { describe, expect, it, onTestFinished } from 'vitest';
import { KubeApiError } from '../../../src/kube/kube-error.ts';
import { createObjectWriter } from '../../../src/kube/object-writer.ts';
import { createTransport } from '../../../src/kube/transport.ts';
import { type Answer, json, kubeConfigOf, refused, startScriptedApiServer } from './scripted-api-server.ts';

const signal = new AbortController().signal;
/** Has no resourceVersion, so the writer reads the object first. */
const object = {
  namespace: 'apps',
  name: 'web',
  uid: 'u1',
  resourceVersion: '',
  finalizers: [],
  deletionTimestamp: undefined,
};
/** As received from a watch. */
const seen = { ...object, resourceVersion: '7', finalizers: ['theirs'] };
const MINE = 'gatewayupstream.dev/upstream-cleanup';
const CONFLICT = refused(409, 'Conflict');
const GONE = refused(404, 'NotFound');

const found = (metadata: object = {}): Answer =>
  json({ metadata: { name: 'web', namespace: 'apps', uid: 'u1', resourceVersion: '7', ...metadata } });

/** A writer that sends to a scripted API server. `bodies` has the bodies of its requests. */
async function write(...script: readonly Answer[]) {
  const bodies: unknown[] = [];
  const api = await startScriptedApiServer(
    script.map((answer): Answer => {
      return (response, request) => {
        let text = '';
        request.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        request.on('end', () => {
          if (text !== '') bodies.push(JSON.parse(text));
          answer(response, request);
        });
      };
    }),
  );
  const transport = createTransport({ kubeConfig: kubeConfigOf({ server: api.url }), userAgent: 'tests' });
  onTestFinished(async () => {
    transport.close();
    await api[Symbol.asyncDispose]();
  });
  return { api, bodies, writer: createObjectWriter(transport) };
}

const methods = (api: { readonly seen: readonly { readonly method: string }[] }) =>
  api.seen.map(({ method }) => method);

describe('addFinalizer', () => {
  it('appends to existing finalizers, based on the resourceVersion that was read', async () => {
    const { api, bodies, writer } = await write(found({ finalizers: ['theirs'] }), json({}));
    expect(await writer.addFinalizer('GatewayUpstream', object, MINE, signal)).toBe(true);
    const path = '/apis/gatewayupstream.dev/v1alpha1/namespaces/apps/gatewayupstreams/web';
    expect(api.seen).toMatchObject([
      { method: 'GET', path },
      {
        method: 'PATCH',
        path,
        query: { fieldManager: 'gateway-upstream-operator' },
        headers: { 'content-type': 'application/merge-patch+json' },
      },
    ]);
    expect(bodies).toEqual([{ metadata: { uid: 'u1', resourceVersion: '7', finalizers: ['theirs', MINE] } }]);
  });

  it('patches a known object without reading it, based on its resourceVersion', async () => {
    const { api, bodies, writer } = await write(json({}));
    expect(await writer.addFinalizer('GatewayUpstream', seen, MINE, signal)).toBe(true);
    expect(methods(api)).toEqual(['PATCH']);
    expect(bodies).toEqual([{ metadata: { uid: 'u1', resourceVersion: '7', finalizers: ['theirs', MINE] } }]);
  });

  it('reads the object after a conflict', async () => {
    const { api, bodies, writer } = await write(CONFLICT, found({ resourceVersion: '8' }), json({}));
    expect(await writer.addFinalizer('GatewayUpstream', seen, MINE, signal)).toBe(true);
    expect(methods(api)).toEqual(['PATCH', 'GET', 'PATCH']);
    expect(bodies.at(-1)).toEqual({ metadata: { uid: 'u1', resourceVersion: '8', finalizers: [MINE] } });
  });

  it('resolves to false if the object was replaced or is being deleted', async () => {
    for (const now of [found({ uid: 'u2' }), found({ deletionTimestamp: '2026-01-01T00:00:00Z' })]) {
      const { api, writer } = await write(CONFLICT, now);
      expect(await writer.addFinalizer('GatewayUpstream', seen, MINE, signal)).toBe(false);
      expect(methods(api)).toEqual(['PATCH', 'GET']);
    }
  });

  it('keeps a finalizer that another client added in the meantime', async () => {
    const { api, bodies, writer } = await write(
      found(),
      CONFLICT,
      found({ resourceVersion: '8', finalizers: ['new'] }),
      json({}),
    );
    expect(await writer.addFinalizer('GatewayUpstream', object, MINE, signal)).toBe(true);
    expect(methods(api)).toEqual(['GET', 'PATCH', 'GET', 'PATCH']);
    expect(bodies.at(-1)).toEqual({
      metadata: { uid: 'u1', resourceVersion: '8', finalizers: ['new', MINE] },
    });
  });

  it('rejects after six consecutive conflicts', async () => {
    const { api, writer } = await write(...Array.from({ length: 8 }, () => [found(), CONFLICT]).flat());
    const adding = writer.addFinalizer('GatewayUpstream', object, MINE, signal);
    await expect(adding).rejects.toMatchObject({ status: 409 });
    expect(methods(api).filter((method) => method === 'PATCH')).toHaveLength(6);
  });

  it.each<[string, boolean, readonly Answer[]]>([
    ['the object already has it', true, [found({ finalizers: [MINE] })]],
    ['the object is being deleted', false, [found({ deletionTimestamp: '2026-01-01T00:00:00Z' })]],
    [
      'the object has it and is being deleted',
      false,
      [found({ deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: [MINE] })],
    ],
    ['another object has the name', false, [found({ uid: 'u2' })]],
    ['the object does not exist', false, [GONE]],
  ])('writes nothing if %s', async (_what, result, script) => {
    const { api, writer } = await write(...script);
    expect(await writer.addFinalizer('GatewayUpstream', object, MINE, signal)).toBe(result);
    expect(methods(api)).toEqual(['GET']);
  });

  it.each<[string, readonly Answer[]]>([
    ['was deleted', [found(), GONE]],
    ['is being deleted', [found(), CONFLICT, found({ deletionTimestamp: '2026-01-01T00:00:00Z' })]],
    ['was replaced', [found(), CONFLICT, found({ uid: 'u2' })]],
  ])('resolves to false if the object %s after it was read', async (_what, script) => {
    const { api, writer } = await write(...script);
    expect(await writer.addFinalizer('GatewayUpstream', object, MINE, signal)).toBe(false);
    expect(methods(api)).toHaveLength(script.length);
  });

  it.each<[string, readonly Answer[], number]>([
    ['reading', [refused(403, 'Forbidden')], 403],
    ['writing', [found(), refused(422, 'Invalid')], 422],
  ])('rejects without a retry if %s fails', async (_what, script, status) => {
    const { api, writer } = await write(...script);
    const adding = writer.addFinalizer('GatewayUpstream', object, MINE, signal);
    await expect(adding).rejects.toBeInstanceOf(KubeApiError);
    await expect(adding).rejects.toMatchObject({ status });
    expect(methods(api)).toHaveLength(script.length);
  });

  it("rejects with the signal's reason after an abort", async () => {
    const { api, writer } = await write();
    const reason = new Error('enough');
    const adding = writer.addFinalizer('GatewayUpstream', object, MINE, AbortSignal.abort(reason));
    await expect(adding).rejects.toBe(reason);
    expect(api.seen).toEqual([]);
  });

  it('supports cluster-scoped objects', async () => {
    const { api, writer } = await write(found(), json({}));
    await writer.addFinalizer('GatewayConnection', { ...object, namespace: '' }, MINE, signal);
    const path = '/apis/gatewayupstream.dev/v1alpha1/gatewayconnections/web';
    expect(api.seen.map((request) => request.path)).toEqual([path, path]);
  });
});

describe('removeFinalizer', () => {
  it('keeps the other finalizers', async () => {
    const { bodies, writer } = await write(found({ finalizers: ['a', MINE, 'b'] }), json({}));
    await writer.removeFinalizer('GatewayUpstream', object, MINE, signal);
    expect(bodies).toEqual([{ metadata: { uid: 'u1', resourceVersion: '7', finalizers: ['a', 'b'] } }]);
  });

  it('patches a known object without reading it', async () => {
    const { api, bodies, writer } = await write(json({}));
    const ending = { ...seen, finalizers: [MINE, 'theirs'], deletionTimestamp: '2026-01-01T00:00:00Z' };
    await writer.removeFinalizer('GatewayUpstream', ending, MINE, signal);
    expect(methods(api)).toEqual(['PATCH']);
    expect(bodies).toEqual([{ metadata: { uid: 'u1', resourceVersion: '7', finalizers: ['theirs'] } }]);
  });

  it('tries again after a conflict on an object that is being deleted', async () => {
    const ending = { deletionTimestamp: '2026-01-01T00:00:00Z' };
    const { bodies, writer } = await write(
      found({ ...ending, finalizers: [MINE, 'foregroundDeletion'] }),
      CONFLICT,
      found({ ...ending, resourceVersion: '8', finalizers: [MINE] }),
      json({}),
    );
    await writer.removeFinalizer('GatewayUpstream', object, MINE, signal);
    expect(bodies.at(-1)).toEqual({ metadata: { uid: 'u1', resourceVersion: '8', finalizers: [] } });
  });

  it.each<[string, readonly Answer[]]>([
    ['the object does not have it', [found({ finalizers: ['theirs'] })]],
    ['the object has no finalizers', [found()]],
    ['another object has the name', [found({ uid: 'u2', finalizers: [MINE] })]],
    ['the object does not exist', [GONE]],
    ['the object was deleted after it was read', [found({ finalizers: [MINE] }), GONE]],
  ])('resolves if %s', async (_what, script) => {
    const { api, writer } = await write(...script);
    await writer.removeFinalizer('GatewayUpstream', object, MINE, signal);
    expect(methods(api)).toHaveLength(script.length);
  });
});

describe('applyStatus', () => {
  it('applies the whole status to the object with this uid', async () => {
    const { api, bodies, writer } = await write(json({}));
    await writer.applyStatus('GatewayUpstream', object, { observedGeneration: 3 }, signal);
    expect(api.seen).toMatchObject([
      {
        method: 'PATCH',
        path: '/apis/gatewayupstream.dev/v1alpha1/namespaces/apps/gatewayupstreams/web/status',
        query: { fieldManager: 'gateway-upstream-operator', force: 'true' },
        headers: { 'content-type': 'application/apply-patch+yaml' },
      },
    ]);
    expect(bodies).toEqual([
      {
        apiVersion: 'gatewayupstream.dev/v1alpha1',
        kind: 'GatewayUpstream',
        metadata: { name: 'web', namespace: 'apps', uid: 'u1' },
        status: { observedGeneration: 3 },
      },
    ]);
  });

  it.each([
    ['does not exist', GONE],
    ['was replaced by another one with its name', CONFLICT],
  ])('resolves if the object %s', async (_what, answer) => {
    const { api, writer } = await write(answer);
    await writer.applyStatus('GatewayUpstream', object, {}, signal);
    expect(api.seen).toHaveLength(1);
  });

  it.each([403, 422, 429, 500])('rejects if the API server answers %i', async (status) => {
    const { writer } = await write(refused(status, 'No'));
    const applying = writer.applyStatus('GatewayUpstream', object, {}, signal);
    await expect(applying).rejects.toMatchObject({ status });
  });
});
