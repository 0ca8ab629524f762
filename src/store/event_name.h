/*
 * event_name.h
 *		Names of events of capi.send() and the sources they are.  See
 *		event_name.c.
 */
#ifndef CAPI_EVENT_NAME_H
#define CAPI_EVENT_NAME_H

/*
 * Number of the source that is this name of event of this dataset, both in the
 * server's encoding.  A new name is noted for the dispatcher.  Raises 42704 for
 * an unknown dataset, 54000 when the dataset has too many names, 55P03 when
 * somebody has the tables locked.  Waits for no other transaction.
 */
extern int	capi_event_name_source(const char *dataset, const char *event_name);

/* Makes sources of new names.  By the sender alone, inside SPI as the owner. */
extern void capi_event_name_adopt(void);

#endif							/* CAPI_EVENT_NAME_H */
