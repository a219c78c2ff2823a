// The close codes that are the mesh's own (the others are in protocol/limits.ts).

/** Another node with this node_id lives: a state directory was copied. The receiver exits. */
export const CLOSE_COPIED = 4409
/** The introduction says another role or node_id than was proven, or changed its mind. */
export const CLOSE_FALSE_CLAIM = 4410
/** The far end is no member any more: taken out of the mesh, or past its certificate's end. */
export const CLOSE_NO_MEMBER = 4411
/** RFC 6455: the node is going away in good order. */
export const CLOSE_GOING_AWAY = 1001
/** Registered for WebSockets: try again later. There are too many connections. */
export const CLOSE_CROWDED = 1013
/** RFC 6455: a condition that the closing side did not expect. */
export const CLOSE_INTERNAL = 1011

/** How a connection ended. */
export interface Ending {
  /** By FIN, RST or a close frame of the far end: dialling its port can tell whether it lives. */
  readonly clean: boolean
  /** The far end closed it, with this code. */
  readonly isTheirs: boolean
  readonly code: number
  /** It was taken out of the mesh: it will not be back. */
  readonly isExpelled?: true
  readonly why: string
}
