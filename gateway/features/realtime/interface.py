"""The names of realtime that pass-through uses for its websockets."""

from gateway.features.realtime.dialing import ConnectionAttempt
from gateway.features.realtime.events import OpenAiFrames
from gateway.features.realtime.gemini_live import GeminiFrames
from gateway.features.realtime.meter import Meter
from gateway.features.realtime.notices import FrameReader, ResponseStarted
from gateway.features.realtime.opening import Opening, open_websocket, run_session
from gateway.features.realtime.session import ResumableSessions
from gateway.features.realtime.shapes import RealtimeShape
