// OpenAPI: the API described for programs, from the same routes that serve it.

import type * as t from 'io-ts'
import { Schemas } from '../../../protocol/schema.ts'
import { shapes } from '../../../protocol/table.ts'
import type { Route } from './route.ts'

/** A description (OpenAPI 3.1) of the routes. */
export const openApiOf = (routes: readonly Route[], version: string): object => {
  const schemas = new Schemas(shapes)
  const paths: Record<string, Record<string, object>> = {}
  for (const one of routes) {
    const path = paths[one.path] ?? {}
    path[one.method.toLowerCase()] = operationOf(one, schemas)
    paths[one.path] = path
  }
  const { definitions } = schemas
  return atComponents({
    openapi: '3.1.0',
    info: {
      title: 'Manyhands',
      version,
      description: 'The mesh by HTTP. Bytes in JSON are base64.',
    },
    security: [{ bearer: [] }],
    paths,
    components: {
      schemas: { ...definitions, Problem: PROBLEM },
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
    },
  })
}

const PROBLEM = {
  type: 'object',
  properties: {
    type: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string' },
    detail: { type: 'string' },
    request_id: { type: 'string' },
  },
  required: ['type', 'status', 'code', 'detail'],
  additionalProperties: true,
}

const operationOf = (one: Route, schemas: Schemas): object => ({
  summary: one.about,
  operationId: `${one.method.toLowerCase()}${one.path.replaceAll(/[^a-z]+(.)?/gi, (_all, letter = '') => letter.toUpperCase())}`,
  parameters: parametersOf(one),
  ...(one.body !== undefined && {
    requestBody: {
      required: one.body !== 'bytes',
      content: contentOf(one.body, schemas),
    },
  }),
  responses: {
    [one.answer.status]: {
      description: one.answer.about,
      content: contentOf(one.answer.body, schemas),
    },
    default: {
      description: 'what went wrong, and what to do',
      content: {
        'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } },
      },
    },
  },
})

const parametersOf = ({ path, query = {}, headers = {} }: Route): readonly object[] => [
  ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    ...{ name, in: 'path', required: true },
    schema: { type: 'string' },
  })),
  ...Object.entries(query).map(([name, { about, isRepeatable, example }]) => ({
    ...{ name, in: 'query', description: about },
    schema: isRepeatable
      ? { type: 'array', items: { type: 'string' } }
      : { type: 'string' },
    ...(example !== undefined && { example: isRepeatable ? [example] : example }),
  })),
  ...Object.entries(headers).map(([name, about]) => ({
    ...{ name, in: 'header', description: about },
    schema: { type: 'string' },
  })),
]

const contentOf = (body: t.Mixed | 'bytes' | 'events', schemas: Schemas): object => {
  if (body === 'bytes') return { 'application/octet-stream': {} }
  if (body === 'events') return { 'text/event-stream': { schema: { type: 'string' } } }
  return { 'application/json': { schema: schemas.of(body) } }
}

/** Shapes refer to each other where OpenAPI has them. */
const atComponents = (value: object): object =>
  JSON.parse(JSON.stringify(value).replaceAll('"#/$defs/', '"#/components/schemas/'))
