/*
 * reader.h
 *		The process that runs the shop's queries.
 */
#ifndef CAPI_READER_H
#define CAPI_READER_H

/* Entry point, called by the server by its name. */
extern PGDLLEXPORT void capi_reader_main(Datum main_arg);

#endif							/* CAPI_READER_H */
